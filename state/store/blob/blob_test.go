package blob

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"
	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/storetest"
)

var (
	errDenied = errors.New("the key is unknown")
	errBusy   = errors.New("slow down")
)

func judge(err error) Verdict {
	switch {
	case errors.Is(err, errDenied):
		return Denied
	case errors.Is(err, errBusy):
		return Busy
	}
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return Missing
	case gcerrors.FailedPrecondition:
		return Exists
	}
	return Failed
}

// bucket counts how often it is opened, and fails writes as it is told.
type bucket struct {
	opened int
	fails  []error
	file   string
}

func (b *bucket) store(t *testing.T) *Store {
	t.Helper()
	mem := memblob.OpenBucket(nil)
	s, err := Open(t.Context(), Options{Prefix: "p/", Clock: clock.RealClock{}, Kind: Kind{
		Judge: judge, CredentialFiles: []string{b.file},
		Open: func(context.Context) (*blob.Bucket, error) {
			b.opened++
			return mem, nil
		},
		Put: func(ctx context.Context, to *blob.Bucket, object Object) error {
			if len(b.fails) > 0 {
				err := b.fails[0]
				b.fails = b.fails[1:]
				return err
			}
			return write(ctx, to, object)
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) state.Store { return (&bucket{}).store(t) })
}

func TestWhatIsDeniedIsTriedWithNewCredentials(t *testing.T) {
	for name, test := range map[string]struct {
		fails  []error
		opened int
		want   error
	}{
		"denied once":        {[]error{errDenied}, 2, nil},
		"denied for a while": {[]error{errDenied, errDenied, errDenied}, 4, nil},
		"busy":               {[]error{errBusy, errBusy}, 1, nil},
		"denied for good":    {[]error{errDenied, errDenied, errDenied, errDenied, errDenied}, 5, errDenied},
		"any other failure":  {[]error{context.DeadlineExceeded}, 1, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bucket{fails: test.fails}
			err := b.store(t).Create(t.Context(), "a", nil)
			if !errors.Is(err, test.want) || b.opened != test.opened {
				t.Errorf("got %v after opening %d times, want %v after %d", err, b.opened, test.want, test.opened)
			}
		})
	}
}

func TestAChangedFileOpensTheBucketAnew(t *testing.T) {
	b := &bucket{file: filepath.Join(t.TempDir(), "credentials")}
	s := b.store(t)
	for i, want := range []int{2, 2, 3} {
		if i != 1 {
			if err := os.WriteFile(b.file, make([]byte, i+1), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.List(t.Context(), ""); err != nil || b.opened != want {
			t.Errorf("step %d: opened %d times, %v; want %d", i, b.opened, err, want)
		}
	}
}

// TestARefusalThatIsLost: a server that refuses a large body hangs up while it is still being sent.
func TestARefusalThatIsLost(t *testing.T) {
	reset := errors.New("connection reset by peer")
	b := &bucket{}
	s := b.store(t)
	b.fails = []error{reset}
	if err := s.Create(t.Context(), "a", []byte("1")); !errors.Is(err, reset) {
		t.Errorf("nothing is there: got %v", err)
	}
	if err := s.Create(t.Context(), "a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	b.fails = []error{reset}
	if err := s.Create(t.Context(), "a", []byte("2")); !errors.Is(err, state.ErrExists) {
		t.Errorf("another's is there: got %v", err)
	}
}
