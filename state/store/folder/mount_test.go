package folder

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/state"
)

// TestAnNFSMountMustNotRemember: an NFS client that answers from its cache is no place for states.
func TestAnNFSMountMustNotRemember(t *testing.T) {
	const before = "22 1 254:1 / / rw,relatime - ext4 /dev/vda rw\n31 22 0:30 / /srv rw - tmpfs tmpfs rw\n"
	nfs := func(options string) string {
		return before + `40 22 0:44 / /srv/the\040states rw,relatime shared:7 - nfs4 host:/x rw,vers=4.2,` + options + "\n"
	}
	const states = "/srv/the states/plumbline"
	for name, test := range map[string]struct {
		path, info string
		kind       string
		says       []string
	}{
		"a local file system":      {"/var/lib/states", nfs(""), "ext4", nil},
		"a neighbour of the mount": {"/srv/the states too", nfs(""), "tmpfs", nil},
		"usual options": {states, nfs("acregmin=3,acdirmax=60"), "nfs4",
			[]string{"noac", "lookupcache=positive"}},
		"folders are remembered":      {states, nfs("lookupcache=pos"), "nfs4", []string{"actimeo=0"}},
		"absences are remembered":     {states, nfs("noac"), "nfs4", []string{"lookupcache=positive"}},
		"noac":                        {states, nfs("noac,lookupcache=none"), "nfs4", nil},
		"actimeo=0, as it is shown":   {states, nfs("acregmax=0,acdirmin=0,acdirmax=0,lookupcache=pos"), "nfs4", nil},
		"a mount over another, later": {states, nfs("noac") + nfs("noac,lookupcache=pos"), "nfs4", nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := mountOf(test.path, test.info)
			err := m.fresh()
			if m.kind != test.kind || (err == nil) != (len(test.says) == 0) {
				t.Fatalf("%s is on %s: %v, want %s: %q", test.path, m.kind, err, test.kind, test.says)
			}
			for _, part := range test.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %v, want it to say %q", err, part)
				}
			}
		})
	}
}

// TestALinkThatReportsItsOwnSuccessAsTaken: an NFS client that repeats a request whose answer was lost is told that the
// name exists, by its own first request.
func TestALinkThatReportsItsOwnSuccessAsTaken(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s.linkFile = func(old, name string) error {
		if err := os.Link(old, name); err != nil {
			return err
		}
		return &os.LinkError{Op: "link", Old: old, New: name, Err: fs.ErrExist}
	}
	if err := s.Create(t.Context(), "a/b", []byte("mine")); err != nil {
		t.Errorf("what was created is reported as taken: %v", err)
	}
	s.linkFile = os.Link
	if err := s.Create(t.Context(), "a/b", []byte("theirs")); err != state.ErrExists { //nolint:errorlint // as it is
		t.Errorf("what is taken: got %v, want %v", err, state.ErrExists)
	}
	s.linkFile = func(string, string) error {
		return os.WriteFile(s.path("a/c"), []byte("theirs"), 0o600)
	}
	raced := s.linkFile
	s.linkFile = func(old, name string) error {
		if err := raced(old, name); err != nil {
			return err
		}
		return fs.ErrExist
	}
	if err := s.Create(t.Context(), "a/c", []byte("mine")); err != state.ErrExists { //nolint:errorlint // as it is
		t.Errorf("what another one took meanwhile: got %v, want %v", err, state.ErrExists)
	}
}
