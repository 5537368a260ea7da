// Package workdir lays out the folder that Terraform runs in. A root module keeps its place in its tree, so that what
// it refers to by relative paths is where it was:
//
//	/modules/{north,south,common} --Lay--> /workspace/modules/north   a copy, for Terraform writes there
//	                                       /workspace/modules/common  a link to /modules/common
//
// A neighbour is reached by a link, whatever its size and however the root gets there: by `source = "../common"`, by
// file("../common/x"), by a link of its own.
package workdir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// InvalidError says what is wrong with a source. It needs a person.
type InvalidError struct{ What string }

func (e *InvalidError) Error() string { return e.What }

func invalid(format string, args ...any) error { return &InvalidError{fmt.Sprintf(format, args...)} }

// Tree is a folder with configurations in it, and the root module among them. Both are paths without links.
type Tree struct {
	Dir string
	// Root is relative to Dir.
	Root string
}

// InImage is the tree of a root module that lies in the runner's image: all of the image.
func InImage(path string) (Tree, error) {
	// Where a shell would be that went there: from a link's end, ".." leads elsewhere.
	end, err := filepath.EvalSymlinks(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Tree{}, invalid("the runner image has no folder %s", path)
	case err != nil:
		return Tree{}, fmt.Errorf("finding module %s: %w", path, err)
	}
	info, err := os.Stat(end)
	switch {
	case err != nil:
		return Tree{}, fmt.Errorf("finding module %s: %w", path, err)
	case !info.IsDir():
		return Tree{}, invalid("%s in the runner image is no folder", path)
	}
	return Tree{Dir: "/", Root: strings.TrimPrefix(end, "/")}, nil
}

// Lay puts the tree into a work folder, and returns the root module's folder there and what of the module was left out.
func (t Tree) Lay(work string) (root string, left []string, err error) {
	if err := t.linkNeighbours(work); err != nil {
		return "", nil, err
	}
	root = filepath.Join(work, t.Root)
	left, err = copyModule(filepath.Join(t.Dir, t.Root), root)
	return root, left, err
}

// linkNeighbours makes the folders that lead to the root module, and links to all else that lies in them.
func (t Tree) linkNeighbours(work string) error {
	from, to := t.Dir, work
	for name := range strings.SplitSeq(t.Root, "/") {
		if err := linkAll(from, to, name); err != nil {
			return err
		}
		from, to = filepath.Join(from, name), filepath.Join(to, name)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return fmt.Errorf("making the root module's folder: %w", err)
		}
	}
	return nil
}

func linkAll(from, to, except string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrPermission) {
		return nil // what can't be listed may be passed through all the same
	}
	if err != nil {
		return fmt.Errorf("looking for the root module's neighbours: %w", err)
	}
	for _, e := range entries {
		target := filepath.Join(from, e.Name())
		if e.Name() == except || inside(to, target) {
			continue // the way to the root module, and no way from the work folder into itself
		}
		if err := os.Symlink(target, filepath.Join(to, e.Name())); err != nil {
			return fmt.Errorf("linking the root module's neighbours: %w", err)
		}
	}
	return nil
}

func inside(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// copyModule copies a folder and returns what it left out of it. Links are copied as they are: they lead to the same.
func copyModule(from, to string) (left []string, err error) {
	module, err := os.OpenRoot(from)
	if err != nil {
		return nil, fmt.Errorf("opening module: %w", err)
	}
	defer module.Close() //nolint:errcheck // it is only read
	work, err := os.OpenRoot(to)
	if err != nil {
		return nil, fmt.Errorf("opening work folder: %w", err)
	}
	defer work.Close() //nolint:errcheck // nothing is written through the folder's handle itself
	err = fs.WalkDir(module.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("reading module: %w", err)
		}
		if Leftover(name) {
			left = append(left, name)
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if err := copyEntry(module, work, name, entry.Type()); err != nil {
			return fmt.Errorf("copying %s of module %s: %w", name, from, err)
		}
		return nil
	})
	return left, err
}

func copyEntry(module, work *os.Root, name string, kind fs.FileMode) error {
	switch {
	case kind.IsDir():
		return work.MkdirAll(name, 0o755)
	case kind.IsRegular():
		return copyFile(module, work, name)
	case kind&fs.ModeSymlink != 0:
		target, err := module.Readlink(name)
		if err != nil {
			return err
		}
		return work.Symlink(target, name)
	default:
		return invalid("module entry %s is neither a file, a folder nor a link", name)
	}
}

func copyFile(module, work *os.Root, name string) error {
	in, err := module.Open(name)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it is only read
	info, err := in.Stat()
	if err != nil {
		return err
	}
	// The copy belongs to this process, whatever the image's owner is, and must stay writable for it.
	out, err := work.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
