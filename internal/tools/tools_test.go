package tools

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEveryToolHasItsModule(t *testing.T) {
	for _, name := range Names() {
		data, err := os.ReadFile(filepath.Join(name, "go.mod"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := "module " + modulePath + "/internal/tools/" + name + "\n"; !strings.HasPrefix(string(data), want) {
			t.Errorf("%s: go.mod does not start with %q", name, want)
		}
	}
}

func TestKubernetesKnowsItsOwnVersion(t *testing.T) {
	data, err := os.ReadFile("kubernetes/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`k8s\.io/kubernetes ` + regexp.QuoteMeta(kubernetesVersion) + `\s`).Match(data) {
		t.Errorf("kubernetes/go.mod pins another version than %s", kubernetesVersion)
	}
}

func TestKeyChangesWithWhatDecidesTheBuild(t *testing.T) {
	write := func(t *testing.T, folder, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := tool{packages: []string{"a"}}
	tests := map[string]struct {
		tool   tool
		change func(t *testing.T, folder string)
		same   bool
	}{
		"nothing":       {base, func(*testing.T, string) {}, true},
		"another flag":  {tool{packages: []string{"a"}, tags: "x"}, func(*testing.T, string) {}, false},
		"another pin":   {base, func(t *testing.T, dir string) { write(t, dir, "go.mod", "module y") }, false},
		"another file":  {base, func(t *testing.T, dir string) { write(t, dir, "more.go", "package y") }, false},
		"another cgo":   {tool{packages: []string{"a"}, cgo: true}, func(*testing.T, string) {}, false},
		"another order": {tool{packages: []string{"b", "a"}}, func(*testing.T, string) {}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			write(t, folder, "go.mod", "module x")
			before, err := keyOf(base, folder)
			if err != nil {
				t.Fatal(err)
			}
			test.change(t, folder)
			after, err := keyOf(test.tool, folder)
			if err != nil {
				t.Fatal(err)
			}
			if (before == after) != test.same {
				t.Errorf("keys %s and %s, want same: %v", before, after, test.same)
			}
		})
	}
}

func TestUnknownToolIsNamed(t *testing.T) {
	_, err := Build(t.Context(), t.Logf, "nonsense")
	if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("Build = %v, want ErrUnknown naming it", err)
	}
}
