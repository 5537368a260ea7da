package blob

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"gocloud.dev/blob"
)

// pauses are made between the tries of a call that was denied or met another writer: a rotated key takes a moment to be
// known everywhere.
var pauses = []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, time.Second, 2 * time.Second}

// do calls f with the bucket, and again with newly read credentials while it is denied. It gives each try a deadline.
// Repeating is safe: a Create knows its own attempt, and a call that was denied did nothing.
func (s *Store) do(ctx context.Context, f func(context.Context, *blob.Bucket) error) error {
	for try := 0; ; try++ {
		err := s.try(ctx, f)
		verdict := s.judge(err)
		if err == nil || verdict != Denied && verdict != Busy || try == len(pauses) {
			return err
		}
		if verdict == Denied {
			s.forget()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.Clock.After(pauses[try]):
		}
	}
}

func (s *Store) try(ctx context.Context, f func(context.Context, *blob.Bucket) error) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	bucket, err := s.current(ctx)
	if err != nil {
		return err
	}
	err = f(bounded, bucket)
	if ctx.Err() != nil && err != nil {
		return ctx.Err()
	}
	return err
}

// current returns the bucket, opened anew when the files of its credentials have changed. The bucket before is left to
// the calls that still use it.
func (s *Store) current(ctx context.Context) (*blob.Bucket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamp := stampOf(s.Kind.CredentialFiles)
	if s.bucket != nil && stamp == s.stamp {
		return s.bucket, nil
	}
	// What is opened lives longer than the call that it is opened in.
	bucket, err := s.Kind.Open(context.WithoutCancel(ctx))
	if err != nil {
		if s.bucket != nil {
			return s.bucket, nil // a file that is being written; the next call looks again
		}
		return nil, fmt.Errorf("opening the bucket: %w", err)
	}
	s.bucket, s.stamp = bucket, stamp
	return bucket, nil
}

// forget makes the next call open the bucket anew.
func (s *Store) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stamp = "stale"
}

// stampOf changes when one of the files does.
func stampOf(files []string) string {
	var b strings.Builder
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			fmt.Fprintln(&b, info.ModTime().UnixNano(), info.Size())
		}
	}
	return b.String()
}
