package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const lookAgain = 200 * time.Millisecond

// lock lets one process of the machine build images at a time: they share a store, and who comes second usually finds
// everything up to date.
func (b *builder) lock(ctx context.Context) (func(), error) {
	if err := os.MkdirAll(b.store(), 0o755); err != nil {
		return nil, fmt.Errorf("making the image store: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(b.store(), "plumbline.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	if err := b.flock(ctx, file); err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for another image build: %w", err), file.Close())
	}
	return func() { _ = file.Close() }, nil
}

func (b *builder) flock(ctx context.Context, file *os.File) error {
	for told := false; ; told = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if !told {
			b.log("another process builds images: waiting for it ...")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.clock.After(lookAgain):
		}
	}
}
