package folder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/storetest"
)

func open(t *testing.T, root string) *Store {
	t.Helper()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) state.Store { return open(t, t.TempDir()) })
}

func TestItStaysWhatItWas(t *testing.T) {
	root := t.TempDir()
	if err := open(t, root).Create(t.Context(), "a/b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	data, err := open(t, root).Get(t.Context(), "a/b")
	if err != nil || string(data) != "x" {
		t.Errorf("got %q, %v", data, err)
	}
}

// An unmounted volume leaves an empty folder behind, which must not look like an empty store.
func TestAFolderThatIsNotMountedIsNoEmptyStore(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	if err := os.Remove(filepath.Join(root, mark)); err != nil {
		t.Fatal(err)
	}
	_, getErr := s.Get(t.Context(), "a")
	_, listErr := s.List(t.Context(), "")
	for name, err := range map[string]error{
		"get": getErr, "list": listErr, "create": s.Create(t.Context(), "a", nil), "delete": s.Delete(t.Context(), "a"),
	} {
		if err == nil || errors.Is(err, state.ErrNotFound) || !strings.Contains(err.Error(), "mounted") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "letter.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{foreign, filepath.Join(foreign, "none"), "relative"} {
		if _, err := Open(root); err == nil {
			t.Errorf("Open(%s) is no error", root)
		}
	}
}

func TestSweepRemovesWhatIsOld(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	left := filepath.Join(root, writing, "left")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-3 * time.Hour)
	for _, want := range []int{0, 1} {
		if n, err := s.Sweep(t.Context(), time.Now().Add(-2*time.Hour)); err != nil || n != want {
			t.Errorf("swept %d, %v; want %d", n, err, want)
		}
		_ = os.Chtimes(left, old, old)
	}
}

func TestDeletedFoldersGo(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	if err := errors.Join(s.Create(t.Context(), "a/b/c", nil), s.Delete(t.Context(), "a/b/c")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "a")); err == nil {
		t.Error("an empty folder stays")
	}
}
