package cli

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/plumbline-dev/plumbline/state"
)

// TestRepair: a person sees what can't be read, is told what to do about it, and goes on.
func TestRepair(t *testing.T) {
	a, service := proxied(t)
	as := func(stdin string, args ...string) result {
		return a.plumbline(t, stdin, append([]string{"--as", "alice"}, args...)...)
	}
	damage := func(key string) {
		t.Helper()
		ctx := t.Context()
		err := errors.Join(service.Store.Delete(ctx, key), service.Store.Create(ctx, key, []byte("\x00gone")))
		if err != nil {
			t.Fatal(err)
		}
	}
	as("", "state", "repair", "ws", "--why", "w", "-y").want(t, "nothing is damaged")
	as(push1, "state", "push", "ws", "-", "--why", "first").want(t)
	as(push2, "state", "push", "ws", "-", "--why", "second").want(t)
	damage("state/uid/000000000002")
	as("", "state", "pull", "ws").wantFailure(t, "can't be read", "plumbline state repair")
	as("", "state", "show", "ws").wantFailure(t, "plumbline state repair")
	as("", "state", "list", "ws").want(t, "can't be read", "pushed: first")
	as("", "state", "repair", "ws", "-y").wantFailure(t, `"why" not set`)
	as("no\n", "state", "repair", "ws", "--why", "the disk").wantFailure(t, "left as it is")
	as("yes\n", "state", "repair", "ws", "--why", "the disk").want(t, "damaged, and kept: state/uid/000000000002",
		"version 3 is the newest now, serial 102, with the content of version 1")
	as("", "state", "list", "ws").want(t, "in place of [2], which can't be read: the disk", "pushed: first")

	holder := state.Holder{Namespace: "ns", Run: "ws-1", Pod: "ws-1", PodUID: "1"}
	if err := service.Lock(t.Context(), "uid", holder, []byte(`{"ID":"7"}`)); err != nil {
		t.Fatal(err)
	}
	keys, err := service.Store.List(t.Context(), "lock/uid/")
	if err != nil {
		t.Fatal(err)
	}
	damage(keys[len(keys)-1])
	as("", "state", "show", "ws").want(t, "unknown, for its record can't be read")
	as(push2, "state", "push", "ws", "-", "--why", "w", "--force").wantFailure(t, "the lock's record", "unlock work too")
	as("yes\n", "state", "unlock", "ws", "--why", "w").want(t, "taken from somebody unknown")
	as("", "state", "show", "ws").want(t, "free")
}

// TestAPulledStateIsPrivate: also where there was a file that others can read, or a link.
func TestAPulledStateIsPrivate(t *testing.T) {
	a := newAPI(t)
	a.says("GET "+ofWS+"/state", secretState)
	dir := t.TempDir()
	open, elsewhere, link := filepath.Join(dir, "open"), filepath.Join(dir, "elsewhere"), filepath.Join(dir, "link")
	err := errors.Join(os.WriteFile(open, []byte("much longer than what is written\n"), 0o600), os.Chmod(open, 0o644),
		os.WriteFile(elsewhere, nil, 0o600), os.Symlink(elsewhere, link))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{open, link, filepath.Join(dir, "new")} {
		a.plumbline(t, "", "state", "pull", "ws", "-o", file).want(t)
		info, err := os.Lstat(file)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: got %v, %v; want a file that is private", file, info.Mode(), err)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != secretState {
			t.Errorf("%s: got %q, %v", file, b, err)
		}
	}
	if b, err := os.ReadFile(elsewhere); err != nil || len(b) > 0 {
		t.Errorf("where the link led there is %q, %v", b, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 4 {
		t.Errorf("left are %v, %v", left, err)
	}
	a.plumbline(t, "", "state", "pull", "ws", "-o", filepath.Join(dir, "no", "folder")).wantFailure(t, "no/folder")
}
