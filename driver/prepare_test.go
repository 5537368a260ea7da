package driver

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// tree writes files, and links where a value begins with "->".
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
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
	return root
}

func readTree(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if target, err := os.Readlink(path); err == nil {
			files[name] = "->" + target
			return nil
		}
		b, err := os.ReadFile(path)
		files[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestFillWorkDir(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name          string
		module, files map[string]string
		want          map[string]string
		wantErr       string
	}{
		{
			"files alone", nil,
			map[string]string{"main.tf": "a", "modules/b/main.tf": "${x} %{y} \"\n ä"},
			map[string]string{"main.tf": "a", "modules/b/main.tf": "${x} %{y} \"\n ä"}, "",
		},
		{
			"files over the module's",
			map[string]string{"main.tf": "of the module", "sub/x.tf": "x", ".terraform.lock.hcl": "lock"},
			map[string]string{"main.tf": "of the spec"},
			map[string]string{"main.tf": "of the spec", "sub/x.tf": "x", ".terraform.lock.hcl": "lock"}, "",
		},
		{
			"links inside the module",
			map[string]string{"main.tf": "a", "b.tf": "->main.tf", "sub/x.tf": "x", "dir": "->sub"}, nil,
			map[string]string{"main.tf": "a", "b.tf": "->main.tf", "sub/x.tf": "x", "dir": "->sub"}, "",
		},
		{"a file replaces a link", map[string]string{"a.tf": "a", "b.tf": "->a.tf"}, map[string]string{"b.tf": "b"},
			map[string]string{"a.tf": "a", "b.tf": "b"}, ""},
		{"a link that leads out is no way to write there", map[string]string{"x": "->" + outside},
			map[string]string{"x": "y"}, map[string]string{"x": "y"}, ""},
		{"nor is one in a path", map[string]string{"x": "->" + filepath.Dir(outside)},
			map[string]string{"x/secret": ""}, nil, "file x/secret: "},
		{"what Terraform left on a desk", map[string]string{"main.tf": "a", ".terraform/environment": "staging"},
			map[string]string{"errored.tfstate": "{}", ".terraform/terraform.tfstate": "{}"},
			map[string]string{"main.tf": "a"}, ""},
		{"a path that leads out", nil, map[string]string{"../x": ""}, nil, `"../x" leads out`},
		{"an absolute path", nil, map[string]string{"/etc/x": ""}, nil, `"/etc/x" leads out`},
		{"a file where a folder is", map[string]string{"a/b.tf": "x"}, map[string]string{"a": ""}, nil, "file a: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			if test.module != nil {
				b.spec.ImagePath = tree(t, test.module)
			}
			for path, content := range test.files {
				b.file(path, content)
			}
			r := &run{Config: b.cfg, spec: b.spec, given: b.given(), log: &logWriter{out: b.log}}
			err := r.fillWorkDir()
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("error %v, want %s", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, readTree(t, r.work("."))); diff != "" {
				t.Errorf("work folder (-want +got):\n%s", diff)
			}
		})
	}
	if got, _ := os.ReadFile(outside); string(got) != "untouched" {
		t.Errorf("outside: %s", got)
	}
}

func TestTerraformEnv(t *testing.T) {
	type credentials map[string]map[string]string
	tests := []struct {
		name        string
		pass        []string
		credentials credentials
		want        map[string]string
		wantErr     string
	}{
		{"nothing", nil, nil, map[string]string{}, ""},
		{"named by the Pod template", []string{"HTTPS_PROXY", "NOT_SET"}, nil, map[string]string{"HTTPS_PROXY": "p"}, ""},
		{"credentials", nil, credentials{"cloud": {"AWS_ACCESS_KEY_ID": "a\nb"}, "other": {"X": "1"}},
			map[string]string{"AWS_ACCESS_KEY_ID": "a\nb", "X": "1"}, ""},
		{"the same twice", nil, credentials{"cloud": {"X": "1"}, "other": {"X": "1"}}, nil,
			"environment variable X comes from both credential cloud and credential other"},
		{"the same from the Pod", []string{"HTTPS_PROXY"}, credentials{"cloud": {"HTTPS_PROXY": "q"}}, nil,
			"HTTPS_PROXY comes from both the Pod template's env and credential cloud"},
		{"another operator's Secret", nil, credentials{"db": {"PGUSER": "shop", "jdbc-uri": "x", "tls.crt": "-"}},
			map[string]string{"PGUSER": "shop"}, ""},
		{"state", nil, credentials{"cloud": {"TF_HTTP_ADDRESS": "x"}}, nil, "TF_HTTP_ADDRESS is Plumbline's own"},
		{"variable", nil, credentials{"cloud": {"TF_VAR_x": "x"}}, nil, "TF_VAR_x: give variables in spec.variables"},
		{"arguments", nil, credentials{"cloud": {"TF_CLI_ARGS": "x"}}, nil, "TF_CLI_ARGS would change how"},
		{"arguments of a command", []string{"TF_CLI_ARGS_apply"}, nil, nil, "what can be set is in spec.engine"},
		{"a log", []string{"TF_LOG"}, nil, nil,
			"the Pod template's env: environment variable TF_LOG: set spec.engine.logLevel"},
		{"a provider's log", []string{"TF_LOG_PROVIDER"}, nil, nil, "TF_LOG_PROVIDER: set spec.engine.logLevel"},
		{"another workspace", []string{"TF_WORKSPACE"}, nil, nil, "TF_WORKSPACE would change how"},
		{"another data folder", []string{"TF_DATA_DIR"}, nil, nil, "TF_DATA_DIR is Plumbline's own"},
		{"zero byte", nil, credentials{"cloud": {"X": "a\x00b"}}, nil, "the value of X has a zero byte"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.env["HTTPS_PROXY"], b.env["SECRET_OF_THE_DRIVER"] = "p", "x"
			b.env["TF_LOG"], b.env["TF_LOG_PROVIDER"], b.env["TF_CLI_ARGS_apply"] = "DEBUG", "DEBUG", "-parallelism=1"
			b.env["TF_WORKSPACE"], b.env["TF_DATA_DIR"] = "staging", "/elsewhere"
			b.cfg.Params.PassEnv = test.pass
			for _, name := range slices.Sorted(maps.Keys(test.credentials)) {
				b.credential(name, test.credentials[name])
			}
			got, err := (&run{Config: b.cfg, spec: b.spec, proxy: &stateProxy{}}).terraformEnv()
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("error %v, want %s", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			maps.DeleteFunc(got, func(name, _ string) bool {
				return slices.Contains([]string{"PATH", "HOME", "TMPDIR", "CHECKPOINT_DISABLE"}, name) ||
					strings.HasPrefix(name, "TF_HTTP_")
			})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOddKeysAreNamed: once, and not with their values.
func TestOddKeysAreNamed(t *testing.T) {
	b := newBench(t)
	b.useFake("nochange")
	b.credential("db", map[string]string{"PGUSER": "shop", "jdbc-uri": "postgres://eleven-Plums", "tls.crt": "-"})
	if got := b.run(t.Context()); got.Class != job.NoChanges {
		t.Errorf("%s: %s", got.Class, got.Message)
	}
	const want = "Credential db: left out, for they can't be names of environment variables: jdbc-uri, tls.crt."
	if log := b.log.String(); strings.Count(log, want) != 1 || strings.Contains(log, "Plums") {
		t.Errorf("want once in the log: %s", want)
	}
}

// TestEnvironment: what really reaches the engine is the list here, and nothing of the test's own environment.
func TestEnvironment(t *testing.T) {
	t.Setenv("SECRET_OF_THE_DRIVER", "x")
	b := newBench(t)
	b.useFake("environ")
	b.credential("cloud", map[string]string{"AWS_SECRET_ACCESS_KEY": "${x} %{y}"})
	b.run(t.Context())
	text, err := os.ReadFile(filepath.Join(b.cfg.Paths.Work, "environ"))
	b.must(err)
	var names []string
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{
		"AWS_SECRET_ACCESS_KEY", "CHECKPOINT_DISABLE", sceneVariable, streamsVariable, "HOME", "PATH",
		"TF_APPEND_USER_AGENT", "TF_CLI_CONFIG_FILE",
		"TF_HTTP_ADDRESS", "TF_HTTP_LOCK_ADDRESS", "TF_HTTP_LOCK_METHOD", "TF_HTTP_RETRY_MAX",
		"TF_HTTP_UNLOCK_ADDRESS", "TF_HTTP_UNLOCK_METHOD",
		"TF_IN_AUTOMATION", "TF_LOG", "TF_LOG_CORE", "TF_LOG_PATH", "TF_LOG_PROVIDER", "TMPDIR",
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(text), "AWS_SECRET_ACCESS_KEY=${x} %{y}\n") {
		t.Error("the credential's value is not as it was")
	}
	if strings.Contains(b.log.String(), "%{y}") {
		t.Error("the credential's value is in the log")
	}
}

func TestCLIConfig(t *testing.T) {
	dir := t.TempDir()
	full := tree(t, map[string]string{
		"registry.terraform.io/hashicorp/aws/5.1.0/linux_amd64/terraform-provider-aws": "",
		"example.com/team/dns/terraform-provider-dns_1.0.0_linux_amd64.zip":            "",
		"README": "", "a/b/c": "no folder",
	})
	tests := []struct {
		name   string
		mirror job.PluginMirror
		want   string
	}{
		{"nothing", job.PluginMirror{}, `{"direct":[{}]}`},
		{"what the folder has is asked of nobody else", job.PluginMirror{Path: full, URL: "https://m/", Direct: true},
			`{"direct":[{"exclude":["example.com/team/dns","registry.terraform.io/hashicorp/aws"]}],` +
				`"filesystem_mirror":[{"path":"` + full + `"}],"network_mirror":[{` +
				`"exclude":["example.com/team/dns","registry.terraform.io/hashicorp/aws"],"url":"https://m/"}]}`},
		{"what the network mirror has is asked of no registry",
			job.PluginMirror{URL: "https://m/", Include: []string{"hashicorp/*"}, Direct: true},
			`{"direct":[{"exclude":["hashicorp/*"]}],"network_mirror":[{"include":["hashicorp/*"],"url":"https://m/"}]}`},
		{"folder", job.PluginMirror{Path: dir}, `{"filesystem_mirror":[{"path":"` + dir + `"}]}`},
		{"folder that isn't there", job.PluginMirror{Path: dir + "/no"}, `{"direct":[{}]}`},
		{"all", job.PluginMirror{Path: dir, URL: "https://m/", Direct: true},
			`{"direct":[{}],"filesystem_mirror":[{"path":"` + dir + `"}],"network_mirror":[{"url":"https://m/"}]}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := json.Marshal(cliConfig(test.mirror))
			if err != nil {
				t.Fatal(err)
			}
			want := `{"disable_checkpoint":true,"provider_installation":` + test.want + `}`
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("CLI configuration (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFindEngine(t *testing.T) {
	tests := []struct {
		name string
		bin  map[string]string
		env  string
		want string
	}{
		{"terraform", map[string]string{"terraform": "", "tofu": ""}, "", "terraform"},
		{"tofu", map[string]string{"tofu": ""}, "", "tofu"},
		{"named", map[string]string{"tofu": ""}, "/opt/engine", "/opt/engine"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.cfg.Paths.Engines = tree(t, test.bin)
			b.env[engineVariable] = test.env
			got, err := (&run{Config: b.cfg}).findEngine()
			if err != nil || strings.TrimPrefix(got, b.cfg.Paths.Engines+"/") != test.want {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}
