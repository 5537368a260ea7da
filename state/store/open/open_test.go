package open

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/storetest"
)

func options() Options { return Options{Namespace: "plumbline-system", Clock: clock.RealClock{}} }

func TestWhatIsNoStoreIsRefused(t *testing.T) {
	for address, says := range map[string]string{
		"":                       `unknown; there are azblob://, file://, gs://, kube://, postgres://, postgresql://, s3://`,
		"mysql://host/db":        `the scheme "mysql" is unknown`,
		"postgres://u:s%zz@h/d":  "can't be read",
		"kube://elsewhere":       "nothing more",
		"s3:///prefix":           "names no bucket",
		"file:///tmp?create=1":   "no parameters",
		"s3://key:secret@bucket": "takes no user or password",
		"s3://b?ssetype=rot13":   `ssetype "rot13" is none of`,
		"s3://b?kmskeyid=k":      "kmskeyid is for ssetype=aws:kms",
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
	_, endpoint := serve(t, careless)
	store, err := Open(t.Context(), s3URL("bucket", endpoint), options())
	if err != nil {
		t.Fatal(err)
	}
	err = state.Prove(t.Context(), store)
	if !errors.Is(err, state.ErrUnfit) || !strings.Contains(err.Error(), "overwrites silently") {
		t.Errorf("got %v", err)
	}
}

// What the URL says of encryption goes with each write; gocloud has its own writer do so alone.
func TestS3IsToldHowToEncrypt(t *testing.T) {
	for query, want := range map[string][2]string{
		"":                             {"", ""},
		"&ssetype=AES256":              {"AES256", ""},
		"&ssetype=aws:kms&kmskeyid=k1": {"aws:kms", "k1"},
	} {
		credentials(t, "key", "secret")
		var got [2]string
		_, endpoint := serve(t, func(_ *fakeCloud, _ http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				got[0] = r.Header.Get("X-Amz-Server-Side-Encryption")
				got[1] = r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id")
			}
		})
		store, err := Open(t.Context(), s3URL("bucket", endpoint)+query, options())
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Create(t.Context(), "a", []byte("x")); err != nil || got != want {
			t.Errorf("%s: told %q, %v; want %q", query, got, err, want)
		}
	}
}

// Accounts of Azure and Google can't be had for a test, but their clients can.
func TestAzure(t *testing.T) {
	inCloud(t, azure, func(t *testing.T, endpoint string) string {
		key := file(t, base64.StdEncoding.EncodeToString([]byte("key"))+"\n")
		return "azblob://container/p?storage_account=account&protocol=http&domain=" +
			strings.TrimPrefix(endpoint, "http://") + "&keyfile=" + key
	})
}

func TestGoogle(t *testing.T) {
	inCloud(t, google, func(t *testing.T, endpoint string) string {
		t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(endpoint, "http://"))
		return "gs://bucket/p"
	})
}

func inCloud(
	t *testing.T, dialect func(*fakeCloud, http.ResponseWriter, *http.Request), address func(*testing.T, string) string,
) {
	opens := func(t *testing.T) (*fakeCloud, state.Store) {
		fake, endpoint := serve(t, dialect)
		return fake, opened(t, address(t, endpoint))
	}
	t.Run("conformance", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) state.Store {
			_, store := opens(t)
			return store
		})
	})
	t.Run("a write whose answer was lost is its writer's", func(t *testing.T) {
		fake, store := opens(t)
		fake.lost = 1
		if err := store.Create(t.Context(), "a", []byte("mine")); err != nil {
			t.Errorf("creating: %v", err)
		}
		if err := store.Create(t.Context(), "a", []byte("mine")); !errors.Is(err, state.ErrExists) {
			t.Errorf("creating again: got %v, want ErrExists", err)
		}
	})
	t.Run("a bucket that is gone is no empty store", func(t *testing.T) {
		fake, store := opens(t)
		fake.gone = true
		if _, err := store.Get(t.Context(), "a"); err == nil || errors.Is(err, state.ErrNotFound) {
			t.Errorf("get: got %v", err)
		}
		if keys, err := store.List(t.Context(), ""); err == nil {
			t.Errorf("list: got %v", keys)
		}
		if err := store.Delete(t.Context(), "a"); err == nil {
			t.Error("delete: no error")
		}
	})
}
