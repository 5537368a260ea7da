// Package archive writes container images without a daemon, a registry or a Dockerfile: a list of files becomes one
// layer, and the result is an archive as `docker save` makes it, which `ctr images import` takes.
//
//	Image{Files, Entrypoint, ...} --Write--> x.tar{manifest.json, config, layer.tar}
//
// It is for test images and the sandbox image; the product's images come from the Dockerfile.
package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Image is what the archive shall hold.
type Image struct {
	// Name is the full reference: registry/repository:tag.
	Name string
	// Files maps a path in the image to a file or folder of the machine.
	Files      map[string]string
	Entrypoint []string
	Env        []string
	WorkingDir string
	// User is a numeric user, or user:group.
	User string
}

// Write makes the archive. Equal input gives equal bytes: there are no times in it.
func Write(to string, image Image) error {
	layer, err := layerOf(image.Files)
	if err != nil {
		return fmt.Errorf("packing %s: %w", image.Name, err)
	}
	config, err := json.Marshal(configOf(image, digest(layer)))
	if err != nil {
		return fmt.Errorf("describing %s: %w", image.Name, err)
	}
	configName := digest(config) + ".json"
	manifest, err := json.Marshal([]map[string]any{{
		"Config": configName, "RepoTags": []string{image.Name}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return fmt.Errorf("describing %s: %w", image.Name, err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range []struct {
		name string
		data []byte
	}{{"manifest.json", manifest}, {configName, config}, {"layer.tar", layer}} {
		if err := addBytes(w, f.name, f.data); err != nil {
			return fmt.Errorf("archiving %s: %w", image.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("archiving %s: %w", image.Name, err)
	}
	return os.WriteFile(to, out.Bytes(), 0o644)
}

func configOf(image Image, layer string) map[string]any {
	return map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": map[string]any{
			"Entrypoint": image.Entrypoint, "Env": image.Env, "User": image.User, "WorkingDir": image.WorkingDir,
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layer}},
	}
}

func layerOf(files map[string]string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	made := map[string]bool{}
	for _, target := range slices.Sorted(maps.Keys(files)) {
		name := strings.TrimPrefix(path.Clean(target), "/")
		if err := addParents(w, name, made); err != nil {
			return nil, err
		}
		if err := addTree(w, name, files[target]); err != nil {
			return nil, fmt.Errorf("adding %s: %w", target, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func addParents(w *tar.Writer, name string, made map[string]bool) error {
	parent := path.Dir(name)
	if parent == "." || made[parent] {
		return nil
	}
	if err := addParents(w, parent, made); err != nil {
		return err
	}
	made[parent] = true
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: parent + "/", Mode: 0o755})
}

// addTree adds a file, or a folder with everything in it. Groups get the owner's rights, because an arbitrary UID
// comes with group 0.
func addTree(w *tar.Writer, name, source string) error {
	return filepath.WalkDir(source, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, file)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return addEntry(w, path.Join(name, filepath.ToSlash(relative)), file, info)
	})
}

func addEntry(w *tar.Writer, name, source string, info fs.FileInfo) error {
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(source)
		if err != nil {
			return err
		}
		link = target
	}
	mode := int64(info.Mode().Perm())
	header := &tar.Header{Name: name, Linkname: link, Mode: mode | mode>>3&0o070}
	switch {
	case info.IsDir():
		header.Typeflag, header.Name = tar.TypeDir, name+"/"
	case link != "":
		header.Typeflag = tar.TypeSymlink
	default:
		header.Typeflag, header.Size = tar.TypeReg, info.Size()
	}
	if err := w.WriteHeader(header); err != nil || header.Typeflag != tar.TypeReg {
		return err
	}
	return copyFile(w, source)
}

func copyFile(w io.Writer, source string) error {
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = io.Copy(w, file)
	return err
}

func addBytes(w *tar.Writer, name string, data []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

func digest(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }
