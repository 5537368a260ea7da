// Package job holds the words that the controller and the driver share: what goes into a runner Pod (Spec and Params),
// what comes out of it (Result), and the one vocabulary of how things end (Class). It imports only the standard
// library, so that neither side drags the other's dependencies along.
//
//	controller --Spec--> Secret, read-only at /job/job.json  (the same for all Runs of one inputs digest)
//	controller --Params--> the Pod's arguments                (what differs from Run to Run)
//	driver --Result--> state service and termination message
//
// Controllers and drivers of neighbouring releases meet here: fields are only ever added, and readers ignore what they
// don't know.
package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Version is the version of Spec, Params and Result that this release writes.
const Version = 1

// VersionMove is that of Params that ask for a state to be moved: a driver that doesn't know how would go on without
// the state, and has to refuse them.
const VersionMove = 2

// Paths inside the runner Pod.
const (
	// SpecDir is where the Secret with the Spec and the files is mounted.
	SpecDir = "/job"
	// SpecFile is the Spec's key in the Secret.
	SpecFile = "job.json"
	// WorkDir is the writable folder that Terraform runs in.
	WorkDir = "/workspace"
	// CredentialsDir holds one folder for each credential, with one file for each environment variable.
	CredentialsDir = "/credentials"
	// TrustDir holds the trusted bundles, in the order of Params.Trust: TrustFile names each.
	TrustDir = "/trust"
	// StateTokenFile is the Pod-bound token for the state service.
	StateTokenFile = "/var/run/secrets/plumbline/state/token"
	// StateAudience is that token's audience.
	StateAudience = "plumbline-state"
	// TerminationMessageFile is where the Result is left for the kubelet.
	TerminationMessageFile = "/dev/termination-log"
)

// Operation is what Terraform is asked to do; the values are those of the API's Run.spec.operation.
type Operation string

// The operations.
const (
	Plan    Operation = "Plan"
	Apply   Operation = "Apply"
	Destroy Operation = "Destroy"
	Refresh Operation = "Refresh"
)

// Spec is what a Run is made from. It is a function of the Workspace's inputs alone, so that Runs with the same inputs
// share one Secret.
type Spec struct {
	Version int `json:"version"`
	// Files are put into the work folder, after the image's module if there is one.
	Files []File `json:"files"`
	// ImagePath is the folder of a module baked into the runner image; empty for none.
	ImagePath string `json:"imagePath,omitempty"`
	// Credentials name the folders below CredentialsDir whose files become environment variables, in order.
	Credentials []string `json:"credentials,omitempty"`
	// Vault is what is read from Vault, in order.
	Vault []VaultRequest `json:"vault,omitempty"`
	// Tokens are those of the Pod's ServiceAccount that Terraform gets.
	Tokens []Token `json:"tokens,omitempty"`
	// Backend is where the state lies; nil for Plumbline's own state service.
	Backend *Backend `json:"backend,omitempty"`
}

// File says which key of the Secret is which file: keys can't have folders, paths can.
type File struct {
	Key  string `json:"key"`
	Path string `json:"path"`
	// Executable has its mode say so.
	Executable bool `json:"executable,omitempty"`
}

// Params is what differs from Run to Run, and what must not count as a change of the inputs. It travels in the Pod's
// arguments, so nothing in it is secret.
type Params struct {
	Version   int       `json:"version"`
	Namespace string    `json:"namespace"`
	Workspace string    `json:"workspace"`
	Run       string    `json:"run"`
	Operation Operation `json:"operation"`
	Targets   []string  `json:"targets,omitempty"`
	Replace   []string  `json:"replace,omitempty"`
	// Check says that nobody expects a change, so that an apply begins with a plan.
	Check    bool     `json:"check,omitempty"`
	Timeouts Timeouts `json:"timeouts"`
	// FilesDigest is DigestFiles of what is mounted at SpecDir; empty, from an older release, for not known.
	FilesDigest string `json:"filesDigest,omitempty"`
	// PassEnv names the container's environment variables that Terraform gets too.
	PassEnv []string `json:"passEnv,omitempty"`
	// Trust says of each bundle in TrustDir where it comes from, for people.
	Trust []string `json:"trust,omitempty"`
	// SecretEnv names those of PassEnv whose values come from Secrets: they are masked too.
	SecretEnv []string `json:"secretEnv,omitempty"`
	// SecretVariables names the variables whose values come from Secrets: they are masked in what the driver writes.
	SecretVariables []string     `json:"secretVariables,omitempty"`
	PluginMirror    PluginMirror `json:"pluginMirror"`
	Engine          Engine       `json:"engine,omitzero"`
	State           State        `json:"state"`
	// Vault is set when the Workspace asks for something from there.
	Vault *Vault `json:"vault,omitempty"`
	// Place is what is known of where the state lies.
	Place Place `json:"place,omitzero"`
	// ForceUnlock is the ID of the lock that somebody asked to be released first.
	ForceUnlock string `json:"forceUnlock,omitempty"`
}

// Timeouts end the steps; each includes the step's retries. In JSON they are nanoseconds, as time.Duration is.
type Timeouts struct {
	Credentials time.Duration `json:"credentials,omitempty"`
	Init        time.Duration `json:"init"`
	Plan        time.Duration `json:"plan"`
	Apply       time.Duration `json:"apply"`
	// Stall is for how long Terraform may make no progress; 0, from an older release, for the default.
	Stall time.Duration `json:"stall"`
	Grace time.Duration `json:"grace"`
}

// PluginMirror is where providers come from: a folder, or else a network mirror, or else the registries.
type PluginMirror struct {
	Path string `json:"path,omitempty"`
	URL  string `json:"url,omitempty"`
	// Include are patterns of what URL has; empty for not known.
	Include []string `json:"include,omitempty"`
	Direct  bool     `json:"direct,omitempty"`
}

// State is how the state service is reached.
type State struct {
	// URL is its base, such as https://plumbline-state.plumbline-system.svc:8443.
	URL string `json:"url"`
	// CA is the PEM bundle that its certificate is checked against.
	CA string `json:"ca"`
}

// ErrVersion is returned for a Spec or Params that this release is too old to read.
var ErrVersion = errors.New("written by a newer release")

// ParseParams reads what Params.String wrote.
func ParseParams(s string) (Params, error) {
	var p Params
	if err := json.Unmarshal([]byte(s), &p); err != nil {
		return Params{}, fmt.Errorf("reading params: %w", err)
	}
	if p.Version > VersionMove {
		return Params{}, fmt.Errorf("reading params of version %d: %w", p.Version, ErrVersion)
	}
	return p, nil
}

// String is the form in which Params stand in the Pod's arguments. There is no dollar sign in it: the kubelet would
// take "$(NAME)" for an environment variable, and "$$" for "$".
func (p Params) String() string {
	b, err := json.Marshal(p)
	if err != nil {
		// Strings, numbers and booleans always marshal.
		panic(err)
	}
	return strings.ReplaceAll(string(b), "$", `\u0024`) // dollar signs stand in strings alone
}

// ParseSpec reads the Spec's file.
func ParseSpec(b []byte) (Spec, error) {
	var s Spec
	if err := json.Unmarshal(b, &s); err != nil {
		return Spec{}, fmt.Errorf("reading spec: %w", err)
	}
	if s.Version > Version {
		return Spec{}, fmt.Errorf("reading spec of version %d: %w", s.Version, ErrVersion)
	}
	return s, nil
}
