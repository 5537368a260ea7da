package name

import (
	"path"
	"strings"
	"testing"
)

func TestEncode(t *testing.T) {
	long := strings.Repeat("k", 450)
	for key, want := range map[string]string{
		"a":                      "a.v",
		"state/u-1/000000000012": "state/u-1/000000000012.v",
		"a_b//c.tf":              "a!5Fb/!/c!2Etf.v",
		"a/":                     "a/!.v",
		"/":                      "!/!.v",
		"..":                     "!2E!2E.v",
		"a!":                     "a!21.v",
		"nul\x00é":               "nul!00!C3!A9.v",
		long:                     long[:200] + "!/" + long[:200] + "!/" + long[:50] + ".v",
		"x/" + long[:200] + "/y": "x/" + long[:200] + "/y.v",
	} {
		got := Encode(key)
		if got != want {
			t.Errorf("Encode(%q) = %q, want %q", key, got, want)
		}
		if back, ok := Decode(got); !ok || back != key {
			t.Errorf("Decode(%q) = %q, %v", got, back, ok)
		}
	}
}

func TestDecodeRefusesWhatIsNotItsOwn(t *testing.T) {
	foreigners := []string{"", "a", ".v", "a.v.v", "lost+found/x.v", "a!2.v", "a!zz.v", "a!61.v", "a//b.v", "a!"}
	for _, foreign := range foreigners {
		if key, ok := Decode(foreign); ok {
			t.Errorf("Decode(%q) = %q", foreign, key)
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("state/u/1", 7)
	f.Add("a//!\x00é..", 3)
	f.Add(strings.Repeat("é/", 200), 250)
	f.Fuzz(func(t *testing.T, key string, cut int) {
		if key == "" {
			return
		}
		encoded := Encode(key)
		if back, ok := Decode(encoded); !ok || back != key {
			t.Errorf("Decode(%q) = %q, %v; want %q", encoded, back, ok, key)
		}
		if encoded != path.Clean(encoded) || strings.HasPrefix(encoded, "/") {
			t.Errorf("%q is not a clean path", encoded)
		}
		if cut >= 0 && cut <= len(key) && !strings.HasPrefix(encoded, Prefix(key[:cut])) {
			t.Errorf("%q does not begin with %q, the prefix of %q", encoded, Prefix(key[:cut]), key[:cut])
		}
	})
}
