package open

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/storetest"
)

func options() Options { return Options{Namespace: "plumbline-system", Clock: clock.RealClock{}} }

func TestWhatIsNoStoreIsRefused(t *testing.T) {
	for address, says := range map[string]string{
		"":                       `the scheme "" is unknown; there are azblob://, file://, gs://, kube://, postgres://, postgresql://, s3://`,
		"mysql://host/db":        `the scheme "mysql" is unknown`,
		"postgres://u:s%zz@h/d":  "can't be read",
		"kube://elsewhere":       "nothing more",
		"s3:///prefix":           "names no bucket",
		"file:///tmp?create=1":   "no parameters",
		"s3://key:secret@bucket": "takes no user or password",
	} {
		_, err := Open(t.Context(), address, options())
		if !errors.Is(err, ErrURL) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want ErrURL that says %q", address, err, says)
		}
	}
}

func TestErrorsKeepSecretsOfTheURL(t *testing.T) {
	for _, address := range []string{
		"postgres://me:hunter2@127.0.0.1:1/db?sslmode=what", "postgres://me:hunter2@h:%zz/db", "my://me:hunter2@h/",
		"s3://me:hunter2@bucket?nonsense=1",
	} {
		_, err := Open(t.Context(), address, options())
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", address, err)
		}
	}
}

func TestFolder(t *testing.T) {
	storetest.Run(t, func(t *testing.T) state.Store { return opened(t, "file://"+t.TempDir()) })
}

func opened(t *testing.T, address string) state.Store {
	t.Helper()
	store, err := Open(t.Context(), address, options())
	if err != nil {
		t.Fatal(err)
	}
	if err := state.Prove(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	return store
}

// A server that doesn't know the condition is asked for it at the start, and overwrites.
func TestAServerThatOverwritesSilentlyIsRefused(t *testing.T) {
	credentials(t, "key", "secret")
	store, err := Open(t.Context(), s3URL("bucket", serve(t, nil).URL), options())
	if err != nil {
		t.Fatal(err)
	}
	err = state.Prove(t.Context(), store)
	if !errors.Is(err, state.ErrUnfit) || !strings.Contains(err.Error(), "overwrites silently") {
		t.Errorf("got %v", err)
	}
}
