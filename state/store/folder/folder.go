// Package folder is the state.Store in a folder: for one server with a volume, or several that mount the same one.
//
//	Create: data -> .writing/<random> -> fsync -> link to its name -> fsync of the folder
//
// A link is made whole or not at all, and never over something that is there: on local file systems and on NFS alike.
// An NFS mount that may answer from a cache is refused at the start.
// A file system without links is refused at the start. A mark in the folder tells it from the empty place where its
// volume isn't mounted. What a killed writer leaves in .writing is removed by Sweep.
package folder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/name"
)

const (
	writing = ".writing"
	mark    = ".plumbline"
	private = 0o700
	// attempts is how often a Create makes its folders, which a Delete may remove in between when they are empty.
	attempts = 20
)

// Store is a state.Store in a folder.
type Store struct {
	root string
	// linkFile is os.Link.
	linkFile func(old, name string) error
}

var _ state.Store = (*Store)(nil)

// Open returns the store in a folder that exists. An empty folder is made a store.
func Open(root string) (*Store, error) {
	if !filepath.IsAbs(root) {
		return nil, fmt.Errorf("opening folder %q: its path is not absolute", root)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("opening the folder: %w", err)
	}
	if err := checkMount(root); err != nil {
		return nil, err
	}
	s := &Store{root: root, linkFile: os.Link}
	ours := func(e fs.DirEntry) bool { return e.Name() == mark }
	foreign := func(e fs.DirEntry) bool { return e.Name() != "lost+found" && e.Name() != writing }
	if !slices.ContainsFunc(entries, ours) {
		if slices.ContainsFunc(entries, foreign) {
			return nil, fmt.Errorf("opening folder %s: it has no %s, but other things in it", root, mark)
		}
		if err := s.found(); err != nil {
			return nil, fmt.Errorf("preparing the folder: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, writing), private); err != nil {
		return nil, fmt.Errorf("preparing the folder: %w", err)
	}
	return s, nil
}

func (s *Store) found() error {
	err := os.WriteFile(filepath.Join(s.root, mark), []byte("the states of Plumbline\n"), 0o600)
	return errors.Join(err, syncFolder(s.root))
}

// Create implements state.Store.
func (s *Store) Create(ctx context.Context, key string, data []byte) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	if err := s.mounted(); err != nil {
		return err
	}
	path := s.path(key)
	if _, err := os.Lstat(path); err == nil {
		return state.ErrExists
	}
	temporary := filepath.Join(s.root, writing, rand.Text())
	defer func() { _ = os.Remove(temporary) }()
	if err := write(temporary, data); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.link(temporary, path)
}

func (s *Store) link(temporary, path string) error {
	for try := 1; ; try++ {
		err := s.makeFolder(filepath.Dir(path))
		if err == nil {
			err = s.linkFile(temporary, path)
		}
		switch {
		case err == nil:
			return gone(syncFolder(filepath.Dir(path)))
		case errors.Is(err, fs.ErrExist) && !same(temporary, path):
			return state.ErrExists
		case errors.Is(err, fs.ErrExist): // by our own request, whose first answer an NFS client has lost
			return gone(syncFolder(filepath.Dir(path)))
		case !errors.Is(err, fs.ErrNotExist) || try == attempts:
			return fmt.Errorf("linking: %w", err)
		}
	}
}

// same tells whether two names are of one file.
func same(a, b string) bool {
	first, err := os.Lstat(a)
	if err != nil {
		return false
	}
	second, err := os.Lstat(b)
	return err == nil && os.SameFile(first, second)
}

// makeFolder makes each one that is missing, and makes it last.
func (s *Store) makeFolder(folder string) error {
	if folder == s.root {
		return nil
	}
	if info, err := os.Stat(folder); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(folder)
	if err := s.makeFolder(parent); err != nil {
		return err
	}
	if err := os.Mkdir(folder, private); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(parent)
}

// Get implements state.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := usable(ctx, key); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(s.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.mounted(); err != nil {
			return nil, err
		}
		return nil, state.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	return data, nil
}

// List implements state.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	if err := s.mounted(); err != nil {
		return nil, err
	}
	var keys []string
	top := filepath.Join(s.root, filepath.Dir(name.Prefix(prefix)+"-"))
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(gone(err), ctx.Err())
		}
		relative := strings.TrimPrefix(path, s.root+"/")
		if key, ok := name.Decode(relative); ok && !entry.IsDir() && strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing: %w", err)
	}
	slices.Sort(keys)
	return keys, ctx.Err()
}

// Delete implements state.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	if err := s.mounted(); err != nil {
		return err
	}
	path := s.path(key)
	if err := os.Remove(path); err != nil {
		return gone(err)
	}
	folder := filepath.Dir(path)
	if err := gone(syncFolder(folder)); err != nil {
		return err
	}
	for folder != s.root && os.Remove(folder) == nil {
		folder = filepath.Dir(folder)
	}
	return nil
}

// Sweep removes what writers that were killed before the given time have left; it returns how many files.
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	entries, err := os.ReadDir(filepath.Join(s.root, writing))
	if err != nil {
		return 0, fmt.Errorf("sweeping: %w", err)
	}
	swept := 0
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.ModTime().Before(before) {
			continue
		}
		if err := os.Remove(filepath.Join(s.root, writing, entry.Name())); gone(err) != nil || ctx.Err() != nil {
			return swept, errors.Join(err, ctx.Err())
		}
		swept++
	}
	return swept, nil
}

// mounted returns an error where the folder isn't what it was.
func (s *Store) mounted() error {
	_, err := os.Lstat(filepath.Join(s.root, mark))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for the mark %s: it is gone; is the volume mounted?", mark)
	}
	if err != nil {
		return fmt.Errorf("looking for the folder's mark: %w", err)
	}
	return nil
}

func (s *Store) path(key string) string { return filepath.Join(s.root, name.Encode(key)) }

func write(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncFolder makes names in a folder survive a loss of power.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// gone forgives that something is missing.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func usable(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return state.CheckKey(key)
}
