package mirror

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestPinned(t *testing.T) {
	tests := map[string]struct {
		gomod, want string
		err         error
	}{
		"on a line of its own": {gomod: "module m\n\nrequire example.com/p v1.2.3\n", want: "1.2.3"},
		"in a block":           {gomod: "require (\n\texample.com/q v0.1.0\n\texample.com/p v1.2.3 // x\n)\n", want: "1.2.3"},
		"a longer path":        {gomod: "require example.com/p/v2 v2.0.0\n", err: ErrNotPinned},
		"absent":               {gomod: "module m\n", err: ErrNotPinned},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := pinned(test.gomod, "example.com/p")
			if got != test.want || !errors.Is(err, test.err) {
				t.Errorf("got %q, %v; want %q, %v", got, err, test.want, test.err)
			}
		})
	}
}

func TestProvidersArePinned(t *testing.T) {
	for _, provider := range Providers {
		if version, err := provider.version(); err != nil || version == "" {
			t.Errorf("%s: got %q, %v", provider.Type, version, err)
		}
	}
}

// The mirror is made in one place and read in another.
func TestLinkSurvivesAMove(t *testing.T) {
	before := filepath.Join(t.TempDir(), "before")
	target := filepath.Join(before, "a", "b", "1.0.0", "linux_amd64")
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(target, "provider"), []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(before, "c", "b", "1.0.0", "linux_amd64")
	if err := link(target, name); err != nil {
		t.Fatal(err)
	}
	after := filepath.Join(t.TempDir(), "after")
	if err := os.Rename(before, after); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(after, "c", "b", "1.0.0", "linux_amd64", "provider"))
	if err != nil || string(data) != "x" {
		t.Errorf("got %q, %v", data, err)
	}
}
