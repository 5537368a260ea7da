package job

// Engine is how the engine is run.
type Engine struct {
	// LogLevel is TF_LOG: TRACE, DEBUG, INFO, WARN or ERROR; empty for no log.
	LogLevel string `json:"logLevel,omitempty"`
	// Parallelism is how many resources are worked on at once; 0 for the engine's own number.
	Parallelism int `json:"parallelism,omitempty"`
}
