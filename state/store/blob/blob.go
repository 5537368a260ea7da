// Package blob is the state.Store in a bucket of an object store, through gocloud.dev: Amazon S3 and what is compatible
// with it, Azure Blob Storage, Google Cloud Storage.
//
//	key --name.Encode--> object; Create = one PUT on condition that there is no such object
//
// Each write carries an attempt's name as metadata. So when the answer to a PUT was lost, and the client's repetition
// meets "exists already", the writer finds that it is its own. What an error means is judged per kind of store,
// strictly: gocloud calls more things "not found" than an object that isn't there, and a bucket that can't be read must
// never look like an empty one. Package open knows the kinds; this one imports none of their clients.
package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/name"
)

const (
	// callTimeout is enough for 64 MiB over a slow line.
	callTimeout = 2 * time.Minute
	attemptKey  = "attempt"
	page        = 1000
	minBuffer   = 1 << 20
)

// Verdict is what an error of an object store means.
type Verdict int

// What an error can mean; what none of them fits is just a failure.
const (
	Failed Verdict = iota
	// Missing: there is no such object, for certain.
	Missing
	// Unsure: there is no such object, or no such bucket.
	Unsure
	// Exists: the condition of a PUT was not met.
	Exists
	// Denied: the credentials are not, or not any more, good for this.
	Denied
	// Busy: the object is being written by somebody else, or the store asks for a pause.
	Busy
)

// Kind is what differs between kinds of object stores.
type Kind struct {
	// Open opens the bucket with the credentials of this moment.
	Open func(ctx context.Context) (*blob.Bucket, error)
	// Judge says what an error means.
	Judge func(err error) Verdict
	// Put writes an object on condition that there is none; nil: gocloud's way, if that is one request.
	Put func(ctx context.Context, bucket *blob.Bucket, object Object) error
	// CredentialFiles are looked at before each call: when one has changed, the bucket is opened anew.
	CredentialFiles []string
}

// Object is what is to be written.
type Object struct {
	Name     string
	Data     []byte
	Metadata map[string]string
}

// Options are what a Store is made of.
type Options struct {
	Kind Kind
	// Prefix is what the names of all objects begin with, such as "plumbline/".
	Prefix string
	Clock  clock.Clock
}

// Store is a state.Store in a bucket.
type Store struct {
	Options

	mu     sync.Mutex
	bucket *blob.Bucket
	stamp  string
}

var _ state.Store = (*Store)(nil)

// Open opens the bucket; it asks for nothing that is in it.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{Options: o}
	_, err := s.current(ctx)
	return s, err
}

// Create implements state.Store.
func (s *Store) Create(ctx context.Context, key string, data []byte) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	attempt := strings.ToLower(rand.Text())
	object := Object{Name: s.object(key), Data: data, Metadata: map[string]string{attemptKey: attempt}}
	put := s.Kind.Put
	if put == nil {
		put = write
	}
	err := s.do(ctx, func(ctx context.Context, b *blob.Bucket) error { return put(ctx, b, object) })
	if err == nil {
		return nil
	}
	by, look := s.writer(ctx, object.Name)
	taken := s.judge(err) == Exists
	switch {
	case look == nil && by == attempt:
		return nil
	case look == nil, taken && s.absent(look):
		// The refusal itself may be lost: a server that refuses a large body may hang up before it is read.
		return state.ErrExists
	case taken:
		return fmt.Errorf("looking whose object %s is: %w", object.Name, look)
	}
	return fmt.Errorf("writing object %s: %w", object.Name, err)
}

// writer is the attempt that an object was written by.
func (s *Store) writer(ctx context.Context, object string) (attempt string, err error) {
	err = s.do(ctx, func(ctx context.Context, b *blob.Bucket) error {
		attributes, err := b.Attributes(ctx, object)
		if err == nil {
			attempt = attemptOf(attributes.Metadata)
		}
		return err
	})
	return attempt, err
}

// absent tells of an error that it says of an object, or may say, that there is none.
func (s *Store) absent(err error) bool {
	verdict := s.judge(err)
	return verdict == Missing || verdict == Unsure
}

// attemptOf minds that headers, as which metadata travels, have no case.
func attemptOf(metadata map[string]string) string {
	for key, value := range metadata {
		if strings.EqualFold(key, attemptKey) {
			return value
		}
	}
	return ""
}

// write does it in one request: its buffer is as large as the value.
func write(ctx context.Context, b *blob.Bucket, object Object) error {
	return b.WriteAll(ctx, object.Name, object.Data, &blob.WriterOptions{
		BufferSize: max(minBuffer, len(object.Data)+1), MaxConcurrency: 1, IfNotExist: true,
		ContentType: "application/octet-stream", Metadata: object.Metadata,
	})
}

// Get implements state.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := usable(ctx, key); err != nil {
		return nil, err
	}
	var data []byte
	err := s.do(ctx, func(ctx context.Context, b *blob.Bucket) (err error) {
		data, err = b.ReadAll(ctx, s.object(key))
		if s.judge(err) == Unsure {
			return errors.Join(err, s.reach(ctx, b))
		}
		return err
	})
	switch verdict := s.judge(err); {
	case err == nil:
		return data, nil
	case verdict == Missing || verdict == Unsure:
		return nil, state.ErrNotFound
	}
	return nil, fmt.Errorf("reading object %s: %w", s.object(key), err)
}

// reach returns an error unless the bucket is there.
func (s *Store) reach(ctx context.Context, b *blob.Bucket) error {
	_, _, err := b.ListPage(ctx, blob.FirstPageToken, 1, &blob.ListOptions{Prefix: s.Prefix})
	if err != nil && !errors.Is(err, io.EOF) {
		return unreachable{err}
	}
	return nil
}

// unreachable is an error that nothing about an object can be concluded from.
type unreachable struct{ err error }

func (u unreachable) Error() string { return "reaching the bucket: " + u.err.Error() }

// List implements state.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var keys []string
	err := s.do(ctx, func(ctx context.Context, b *blob.Bucket) (err error) {
		keys, err = s.list(ctx, b, prefix)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing objects: %w", err)
	}
	slices.Sort(keys)
	return keys, nil
}

func (s *Store) list(ctx context.Context, b *blob.Bucket, prefix string) ([]string, error) {
	var keys []string
	options := &blob.ListOptions{Prefix: s.Prefix + name.Prefix(prefix)}
	for token := blob.FirstPageToken; token != nil; {
		objects, next, err := b.ListPage(ctx, token, page, options)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		for _, object := range objects {
			key, ok := name.Decode(strings.TrimPrefix(object.Key, s.Prefix))
			if ok && strings.HasPrefix(key, prefix) {
				keys = append(keys, key)
			}
		}
		token = next
	}
	return keys, nil
}

// Delete implements state.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	err := s.do(ctx, func(ctx context.Context, b *blob.Bucket) error {
		err := b.Delete(ctx, s.object(key))
		if s.judge(err) == Unsure {
			return errors.Join(err, s.reach(ctx, b))
		}
		return err
	})
	if verdict := s.judge(err); err != nil && verdict != Missing && verdict != Unsure {
		return fmt.Errorf("deleting object %s: %w", s.object(key), err)
	}
	return nil
}

func (s *Store) object(key string) string { return s.Prefix + name.Encode(key) }

func (s *Store) judge(err error) Verdict {
	if err == nil || errors.As(err, new(unreachable)) {
		return Failed
	}
	return s.Kind.Judge(err)
}

func usable(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return state.CheckKey(key)
}
