package folder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/plumbline-dev/plumbline/state"
)

// mount is a row of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	point, kind string
	options     map[string]string
}

// checkMount refuses a folder on NFS whose client may answer from its cache. An absence that is remembered would let a
// server give out an old state as the newest, and a Run would apply on it.
func checkMount(root string) error {
	resolved, err := filepath.EvalSymlinks(root)
	if err != nil {
		return fmt.Errorf("finding the folder's mount: %w", err)
	}
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("reading how the folder is mounted: %w", err)
	}
	m := mountOf(resolved, string(info))
	if err := m.fresh(); err != nil {
		return fmt.Errorf("%w: folder %s on %s: %w", state.ErrUnfit, root, m.kind, err)
	}
	return nil
}

// mountOf finds the mount that a path lies on: the last one of the longest mount point.
func mountOf(path, mountinfo string) (found mount) {
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		fields, source := strings.Fields(before), strings.Fields(after)
		if len(fields) < 6 || len(source) < 3 {
			continue
		}
		point := octal.Replace(fields[4])
		if !below(path, point) || len(point) < len(found.point) {
			continue
		}
		found = mount{point, source[0], optionsOf(fields[5] + "," + source[2])}
	}
	return found
}

// octal are the characters that mountinfo writes as numbers.
var octal = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func below(path, point string) bool {
	return point == "/" || path == point || strings.HasPrefix(path, point+"/")
}

func optionsOf(list string) map[string]string {
	options := map[string]string{}
	for option := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(option, "=")
		options[name] = value
	}
	return options
}

// fresh returns an error unless what the mount says is what its server says (nfs(5), "Data and metadata coherence").
func (m mount) fresh() error {
	if m.kind != "nfs" && m.kind != "nfs4" {
		return nil
	}
	_, uncached := m.options["noac"]
	var wrong []error
	if !uncached && m.options["acdirmax"] != "0" {
		wrong = append(wrong, errors.New("it remembers folders for a while: mount it with the option noac or actimeo=0"))
	}
	if lookups := m.options["lookupcache"]; lookups != "none" && lookups != "pos" && lookups != "positive" {
		wrong = append(wrong, errors.New("it remembers what was not there: mount it with the option lookupcache=positive"))
	}
	return errors.Join(wrong...)
}
