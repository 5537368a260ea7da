package cluster

import (
	"encoding/json"
	"fmt"
	"os"
)

// writeBinaries notes which binaries the cluster was started with: it stays with them when the pins change.
func writeBinaries(bin map[string]string) error {
	text, err := json.Marshal(bin)
	if err != nil {
		return err
	}
	return writeAll(map[string]string{run("tools.json"): string(text)})
}

func readBinaries() (map[string]string, error) {
	text, err := os.ReadFile(run("tools.json"))
	if err != nil {
		return nil, fmt.Errorf("reading which binaries the cluster has: %w", err)
	}
	var bin map[string]string
	if err := json.Unmarshal(text, &bin); err != nil {
		return nil, fmt.Errorf("reading which binaries the cluster has: %w", err)
	}
	return bin, nil
}
