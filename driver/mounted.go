package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// mounted are the keys of the Secret that the Run was given. They are read once, so that what is used is what was
// checked.
type mounted map[string][]byte

// readMounted reads a mounted Secret. What begins with two dots is the kubelet's.
func readMounted(dir string) (mounted, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the Run's files: %w", err)
	}
	m := mounted{}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "..") {
			continue
		}
		if m[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
			return nil, fmt.Errorf("reading the Run's files: %w", err)
		}
	}
	return m, nil
}

// check compares what is mounted with what the controller has rendered. An older one doesn't say.
func (m mounted) check(want string) error {
	if want == "" || job.DigestFiles(m) == want {
		return nil
	}
	return invalid("the Secret with the Run's files does not hold what the controller rendered: somebody else has " +
		"written it, and nothing of it was used. Delete the Secret, and ask for a Run: that makes it anew")
}

func (m mounted) spec() (job.Spec, error) {
	content, ok := m[job.SpecFile]
	if !ok {
		return job.Spec{}, fmt.Errorf("reading spec: the Secret has no key %s", job.SpecFile)
	}
	spec, err := job.ParseSpec(content)
	if err != nil {
		return job.Spec{}, invalid("%v", err)
	}
	return spec, nil
}

func (m mounted) file(f job.File) ([]byte, error) {
	content, ok := m[f.Key]
	if !ok {
		return nil, fmt.Errorf("reading file %s: the Secret has no key %s", f.Path, f.Key)
	}
	return content, nil
}
