package render

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

func inline(files map[string]string) v1alpha1.Source {
	return v1alpha1.Source{Inline: &v1alpha1.InlineSource{Files: files}}
}

func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func render(t *testing.T, in Inputs) Bundle {
	t.Helper()
	b, err := Files(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func spec(t *testing.T, b Bundle) job.Spec {
	t.Helper()
	s, err := job.ParseSpec(b.Data[job.SpecFile])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestValuesArriveUnchanged(t *testing.T) {
	for _, test := range []struct {
		name  string
		value any
	}{
		{"quotes", `say "hello" and 'bye'`},
		{"an interpolation", "${file(\"/etc/passwd\")}"},
		{"a directive", "%{ if true }x%{ endif }"},
		{"newlines and tabs", "one\n\ttwo\r\n"},
		{"unicode", "Ħello, wörld, 世界, 🙂"},
		{"what HTML and JavaScript mind", "<a href='x'>&\u2028\u2029"},
		{"control characters", "\x00\x01\x1f"},
		{"a backslash at the end", `C:\temp\`},
		{"no value", nil},
		{"a list of lists", []any{[]any{"a"}, []any{}}},
		{"an object with such names", map[string]any{"${x}": "%{y}", "": true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := render(t, Inputs{Source: inline(map[string]string{"main.tf": ""}),
				Variables: map[string]json.RawMessage{"v": raw(test.value)}})
			var got map[string]any
			if err := json.Unmarshal(b.Data[VariablesFile], &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.value, got["v"]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestALargeNumberKeepsItsDigits(t *testing.T) {
	number := "123456789012345678901234567890.123456789"
	b := render(t, Inputs{Source: inline(nil), Variables: map[string]json.RawMessage{"v": json.RawMessage(number)}})
	if !strings.Contains(string(b.Data[VariablesFile]), number) {
		t.Errorf("got %s", b.Data[VariablesFile])
	}
}

func TestFilesArriveUnchangedWhateverTheirPath(t *testing.T) {
	files := map[string]string{
		"main.tf":                       "variable \"v\" {}\n",
		"job.json":                      "the user's own",
		"modules/a/main.tf":             "# ${not} %{evaluated}",
		"modules/a/terraform.tfvars":    "x = 1",
		"..hidden":                      "a key may not begin like that",
		"templates/ünï.tpl":             "\"quoted\"\n\x01",
		"file-0123456789abcdef":         "looks like one of ours",
		"modules/b/main.tf":             "",
		"modules/terraform.tfvars.json": "{}",
	}
	b := render(t, Inputs{Source: inline(files)})
	got := map[string]string{}
	for _, f := range spec(t, b).Files {
		if !validKey.MatchString(f.Key) || strings.HasPrefix(f.Key, "..") {
			t.Errorf("a Secret can't have the key %q", f.Key)
		}
		got[f.Path] = string(b.Data[f.Key])
	}
	delete(got, VariablesFile)
	delete(got, BackendFile)
	if diff := cmp.Diff(files, got); diff != "" {
		t.Error(diff)
	}
}

func TestReservedNamesAreRefused(t *testing.T) {
	for _, path := range []string{VariablesFile, BackendFile} {
		_, err := Files(Inputs{Source: inline(map[string]string{path: "{}"})})
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got error %v", path, err)
		}
	}
}

func TestAValueThatIsNoJSONIsAnError(t *testing.T) {
	if _, err := Files(Inputs{Variables: map[string]json.RawMessage{"v": json.RawMessage("{")}}); err == nil {
		t.Error("got no error")
	}
}

func TestTheBackendIsOursWhateverTheConfigurationBrings(t *testing.T) {
	b := render(t, Inputs{Source: inline(map[string]string{"backend.tf": `terraform { backend "s3" {} }`})})
	want := map[string]any{"terraform": map[string]any{"backend": map[string]any{"http": map[string]any{}}}}
	var got map[string]any
	if err := json.Unmarshal(b.Data[BackendFile], &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSpec(t *testing.T) {
	b := render(t, Inputs{
		Source:      v1alpha1.Source{Image: &v1alpha1.ImageSource{Path: "/modules/vpn"}},
		Credentials: []Credential{{Name: "second"}, {Name: "first"}},
		Vault:       asked(nil), Tokens: []job.Token{{Name: "t", Audience: "sts", Env: "F"}},
	})
	want := job.Spec{
		Version: job.Version, ImagePath: "/modules/vpn", Credentials: []string{"second", "first"},
		Vault: asked(nil), Tokens: []job.Token{{Name: "t", Audience: "sts", Env: "F"}},
		Files: []job.File{{Key: BackendFile, Path: BackendFile}, {Key: VariablesFile, Path: VariablesFile}},
	}
	if diff := cmp.Diff(want, spec(t, b)); diff != "" {
		t.Error(diff)
	}
}

// base is the inputs that the tests of the digest change one by one.
func base() Inputs {
	return Inputs{
		Source:      inline(map[string]string{"main.tf": "x", "b.tf": "y"}),
		Variables:   map[string]json.RawMessage{"a": raw("1"), "b": raw(map[string]any{"c": 2})},
		Credentials: []Credential{{"one", "d1"}, {"two", "d2"}},
	}
}

// asked is one path of Vault, with a change.
func asked(change func(*job.VaultRequest)) []job.VaultRequest {
	v := job.VaultRequest{Name: "n", Path: "p", Env: map[string]string{"A": "f"}}
	if change != nil {
		change(&v)
	}
	return []job.VaultRequest{v}
}

func TestDigestIsEqualForEqualInputs(t *testing.T) {
	want := render(t, base()).Digest
	for range 20 { // maps come in another order each time
		if got := render(t, base()).Digest; got != want {
			t.Fatalf("got %s, then %s", want, got)
		}
	}
	in := base()
	in.Variables["b"] = json.RawMessage("{ \"c\" : 2 }\n")
	if got := render(t, in).Digest; got != want {
		t.Error("white space of JSON counts as a change")
	}
}

// The digest is compared across releases: if this test fails, an upgrade would start a Run of every Workspace.
func TestDigestStaysWhatItIsInEveryRelease(t *testing.T) {
	const want = "e235abff9893b65ae187fccef7bd0b883a220881b351f22f1e2b4cf5a61e4111"
	if got := render(t, base()).Digest; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestFilesDigest: it is that of the Secret's content, whatever the inputs' digest is.
func TestFilesDigest(t *testing.T) {
	a := render(t, base())
	if got := job.DigestFiles(a.Data); got != a.FilesDigest || got == "" {
		t.Errorf("got %s, want %s", a.FilesDigest, got)
	}
	in := base()
	in.Variables["b"] = json.RawMessage(`{"c":  2}`)
	in.Source.Inline.Files["main.tf"] = "y"
	if b := render(t, in); b.FilesDigest == a.FilesDigest {
		t.Error("another file has the same digest")
	}
	in = base()
	in.Source.Inline.Executable = []string{"main.tf"}
	for _, f := range spec(t, render(t, in)).Files {
		if f.Executable != (f.Path == "main.tf") {
			t.Errorf("%s is executable: %v", f.Path, f.Executable)
		}
	}
}

func TestDigestDiffersForEachDifferentInput(t *testing.T) {
	seen := map[string]string{render(t, base()).Digest: "nothing changed"}
	for _, test := range []struct {
		name   string
		change func(*Inputs)
	}{
		{"a file's content", func(in *Inputs) { in.Source.Inline.Files["main.tf"] = "z" }},
		{"a file's name", func(in *Inputs) { in.Source = inline(map[string]string{"main.tf": "x", "c.tf": "y"}) }},
		{"one more file", func(in *Inputs) { in.Source.Inline.Files["c.tf"] = "" }},
		{"a file less", func(in *Inputs) { delete(in.Source.Inline.Files, "b.tf") }},
		{"contents swapped", func(in *Inputs) { in.Source = inline(map[string]string{"main.tf": "y", "b.tf": "x"}) }},
		{"a file's end moved into its name",
			func(in *Inputs) { in.Source = inline(map[string]string{"main.tf": "", "b.tf": "xy"}) }},
		{"an executable file", func(in *Inputs) { in.Source.Inline.Executable = []string{"main.tf"} }},
		{"another executable file", func(in *Inputs) { in.Source.Inline.Executable = []string{"b.tf"} }},
		{"a variable's value", func(in *Inputs) { in.Variables["a"] = raw("2") }},
		{"a variable's type", func(in *Inputs) { in.Variables["a"] = raw(1) }},
		{"a variable more", func(in *Inputs) { in.Variables["c"] = raw(nil) }},
		{"a variable less", func(in *Inputs) { delete(in.Variables, "a") }},
		{"a credential's content", func(in *Inputs) { in.Credentials[1].Digest = "d3" }},
		{"a credential's name", func(in *Inputs) { in.Credentials[1].Name = "three" }},
		{"the credentials' order", func(in *Inputs) { in.Credentials = []Credential{{"two", "d2"}, {"one", "d1"}} }},
		{"no credentials", func(in *Inputs) { in.Credentials = nil }},
		{"a module of the image", func(in *Inputs) { in.Source = v1alpha1.Source{Image: &v1alpha1.ImageSource{Path: "/m"}} }},
		{"another module of the image",
			func(in *Inputs) { in.Source = v1alpha1.Source{Image: &v1alpha1.ImageSource{Path: "/n"}} }},
		{"a backend", func(in *Inputs) { in.Backend = bucket("a") }},
		{"another backend's argument", func(in *Inputs) { in.Backend = bucket("b") }},
		{"its Secret's content", func(in *Inputs) {
			in.Backend = bucket("a")
			in.Backend.SecretName, in.Backend.SecretDigest = "s", "d"
		}},
		{"a file that reads like that module", func(in *Inputs) { in.Source = inline(map[string]string{"image": "/m"}) }},
		{"something of Vault", func(in *Inputs) { in.Vault = asked(nil) }},
		{"another path", func(in *Inputs) { in.Vault = asked(func(v *job.VaultRequest) { v.Path = "q" }) }},
		{"another role", func(in *Inputs) { in.Vault = asked(func(v *job.VaultRequest) { v.Role = "q" }) }},
		{"a write", func(in *Inputs) { in.Vault = asked(func(v *job.VaultRequest) { v.Write = true }) }},
		{"a parameter", func(in *Inputs) {
			in.Vault = asked(func(v *job.VaultRequest) { v.Parameters = map[string]json.RawMessage{"ttl": raw("1h")} })
		}},
		{"another field", func(in *Inputs) { in.Vault = asked(func(v *job.VaultRequest) { v.Env["A"] = "g" }) }},
		{"a file in place of a variable", func(in *Inputs) {
			in.Vault = asked(func(v *job.VaultRequest) { v.Env, v.Files = nil, v.Env })
		}},
		{"a variable of Terraform in place of one of the environment", func(in *Inputs) {
			in.Vault = asked(func(v *job.VaultRequest) { v.Env, v.Variables = nil, v.Env })
		}},
		{"a token", func(in *Inputs) { in.Tokens = []job.Token{{Name: "t", Audience: "sts", Env: "F"}} }},
		{"a token for another", func(in *Inputs) { in.Tokens = []job.Token{{Name: "t", Audience: "other", Env: "F"}} }},
	} {
		in := base()
		test.change(&in)
		digest := render(t, in).Digest
		if other, ok := seen[digest]; ok {
			t.Errorf("%q has the digest of %q", test.name, other)
		}
		seen[digest] = test.name
	}
}
