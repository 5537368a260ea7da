package archive

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entries lists a tar archive as "mode name -> link" and its files' contents.
func entries(t *testing.T, archive []byte) (names []string, contents map[string][]byte) {
	t.Helper()
	contents = map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%o %s%s", header.Mode, header.Name, header.Linkname))
		if contents[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func image(t *testing.T) Image {
	t.Helper()
	source := t.TempDir()
	for name, mode := range map[string]os.FileMode{"app": 0o755, "tree/a": 0o600, "tree/sub/b": 0o644} {
		path := filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(source, "tree", "link")); err != nil {
		t.Fatal(err)
	}
	return Image{
		Name:       "plumbline.test/app:1",
		Files:      map[string]string{"/usr/bin/app": filepath.Join(source, "app"), "/tree": filepath.Join(source, "tree")},
		Entrypoint: []string{"/usr/bin/app"},
		User:       "1000:0",
	}
}

func write(t *testing.T, image Image) []byte {
	t.Helper()
	to := filepath.Join(t.TempDir(), "image.tar")
	if err := Write(to, image); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestTheLayerHoldsTheFiles(t *testing.T) {
	_, contents := entries(t, write(t, image(t)))
	names, files := entries(t, contents["layer.tar"])
	want := []string{
		"775 tree/", "660 tree/a", "777 tree/linka", "775 tree/sub/", "664 tree/sub/b",
		"755 usr/", "755 usr/bin/", "775 usr/bin/app",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if got := string(files["tree/sub/b"]); got != "tree/sub/b" {
		t.Errorf("tree/sub/b = %q", got)
	}
}

func TestTheConfigurationNamesTheLayer(t *testing.T) {
	_, contents := entries(t, write(t, image(t)))
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(contents["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"plumbline.test/app:1"}, manifest[0].RepoTags); diff != "" {
		t.Error(diff)
	}
	var config struct {
		Config struct {
			User       string
			Entrypoint []string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(contents[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	want := []string{"sha256:" + digest(contents["layer.tar"])}
	if diff := cmp.Diff(want, config.RootFS.DiffIDs); diff != "" {
		t.Error(diff)
	}
	if config.Config.User != "1000:0" || config.Config.Entrypoint[0] != "/usr/bin/app" {
		t.Errorf("config: %+v", config.Config)
	}
}

func TestEqualInputGivesEqualBytes(t *testing.T) {
	image := image(t)
	if !bytes.Equal(write(t, image), write(t, image)) {
		t.Error("two archives of one image differ")
	}
}

func TestAMissingFileIsNamed(t *testing.T) {
	err := Write(filepath.Join(t.TempDir(), "x.tar"), Image{Name: "a:b", Files: map[string]string{"/x": "/no/such"}})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Write = %v, want ErrNotExist", err)
	}
}
