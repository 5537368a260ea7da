package workdir

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree writes files, and links where a value begins with "->".
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	top := t.TempDir()
	for name, content := range files {
		path := filepath.Join(top, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if target, ok := strings.CutPrefix(content, "->"); ok && err == nil {
			err = os.Symlink(target, path)
		} else if err == nil {
			err = os.WriteFile(path, []byte(content), 0o444)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return top
}

// TestARootFindsItsNeighbours: each relative path from the root module leads to what it led to in the tree.
func TestARootFindsItsNeighbours(t *testing.T) {
	top := tree(t, map[string]string{
		"modules/live/north/main.tf":     "root",
		"modules/live/north/shared":      "->../../common",
		"modules/live/north/..data":      "->..2026",
		"modules/live/north/..2026/x.tf": "as the kubelet mounts it",
		"modules/live/south/main.tf":     "south",
		"modules/common/main.tf":         "common",
		"modules/common/beside":          "->../other",
		"modules/other/main.tf":          "other",
		"motd":                           "top",
		"alias":                          "->modules/live/north",
	})
	for _, path := range []string{"modules/live/north", "alias"} {
		work := t.TempDir()
		image, err := InImage(filepath.Join(top, path))
		if err != nil {
			t.Fatal(err)
		}
		root, left, err := image.Lay(work)
		if err != nil || len(left) > 0 {
			t.Fatalf("left %v, %v", left, err)
		}
		if want := filepath.Join(work, top, "modules/live/north"); root != want {
			t.Errorf("the root is %s, want %s", root, want)
		}
		for name, want := range map[string]string{
			"main.tf": "root", "../south/main.tf": "south", "../../common/main.tf": "common", "../../../motd": "top",
			"shared/main.tf": "common", "../../common/beside/main.tf": "other", "..data/x.tf": "as the kubelet mounts it",
		} {
			got, err := os.ReadFile(root + "/" + name)
			if err != nil || string(got) != want {
				t.Errorf("%s is %q, %v; want %q", name, got, err, want)
			}
		}
		// Terraform and what is put over the module write there.
		if err := os.WriteFile(filepath.Join(root, "main.tf"), nil, 0o600); err != nil {
			t.Error(err)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(top, "modules/live/north/main.tf")); string(b) != "root" {
		t.Error("the image's own file was written")
	}
}

// TestLeftoversStayBehind: what Terraform left on a desk is no part of a module, and what was downloaded on purpose is.
func TestLeftoversStayBehind(t *testing.T) {
	leftovers := []string{
		".terraform/environment", ".terraform/terraform.tfstate", ".terraform/terraform.tfstate.backup",
		".terraform.tfstate.lock.info", "terraform.tfstate.lock.info", "crash.log", "crash.1700000000.log",
		"errored.tfstate", "terraform.tfstate", "terraform.tfstate.1700000000.backup", "terraform.tfstate.backup",
		"terraform.tfstate.d",
	}
	kept := []string{
		".terraform.lock.hcl", ".terraform/modules/modules.json", ".terraform/providers/x", "main.tf",
		"sub/terraform.tfstate", "terraform.tfvars", "errored.tf", "crash.tf",
	}
	files := map[string]string{}
	for _, name := range append(slices.Clone(leftovers), kept...) {
		if name == "terraform.tfstate.d" {
			name += "/staging/terraform.tfstate"
		}
		files[name] = name
	}
	image, err := InImage(tree(t, files))
	if err != nil {
		t.Fatal(err)
	}
	root, left, err := image.Lay(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(leftovers)
	slices.Sort(left)
	if diff := cmp.Diff(leftovers, left); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
	for name := range files {
		_, err := os.Lstat(filepath.Join(root, name))
		if there := err == nil; there != slices.Contains(kept, name) {
			t.Errorf("%s is there: %v", name, there)
		}
	}
}

func TestWhatIsNoModule(t *testing.T) {
	top := tree(t, map[string]string{"file": "x"})
	for path, want := range map[string]string{
		"/no": "the runner image has no folder " + top + "/no", "/file": top + "/file in the runner image is no folder",
	} {
		_, err := InImage(top + path)
		if wrong := (*InvalidError)(nil); !errors.As(err, &wrong) || wrong.What != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
