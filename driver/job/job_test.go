package job

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// conditionReason is the pattern that the API server holds a condition's reason to.
var conditionReason = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

func TestEveryClassIsAConditionReason(t *testing.T) {
	for _, c := range Classes() {
		if !conditionReason.MatchString(string(c)) || !c.valid() {
			t.Errorf("%q can't be a condition's reason", c)
		}
	}
}

func TestPolicy(t *testing.T) {
	for _, test := range []struct {
		name  string
		class Class
		want  Policy
	}{
		{"a good end is done", NoChanges, Done},
		{"a plan is a good end", Planned, Done},
		{"a wrong configuration needs a person", ConfigInvalid, Hold},
		{"a failed apply is tried again, up to the limit", ApplyFailed, Retry},
		{"a lost Pod is tried again for as long as it takes", PodLost, Persist},
		{"an unreachable Vault too", CredentialsUnavailable, Persist},
		{"who cancels means it", Canceled, Stop},
		{"a class of a newer release is tried again, up to the limit", "Eclipsed", Retry},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.class.Policy(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if got := test.class.Succeeded(); got != (test.want == Done) {
				t.Errorf("Succeeded is %v", got)
			}
		})
	}
}

func full() Result {
	return Result{
		Version: Version, Run: "vpn-1", Class: ApplyFailed, Message: "main.tf:3: Unsupported argument",
		Changes: &Changes{Add: 1, Change: 2, Destroy: 3, Import: 4, Forget: 5},
		Steps:   []Step{{Name: "init", Attempts: 2, Duration: time.Second}, {Name: "apply", Attempts: 1, Class: ApplyFailed}},
		Drift:   []Drift{{Address: "a.b", Actions: []string{"update"}}}, DriftTotal: 1, OutputsDigest: "d", StateSerial: 7,
		Warnings: &Warnings{Total: 9, First: []string{"Value for undeclared variable"}},
		Checks:   &Checks{Failed: 1, Messages: []string{"check.level: the water is high"}},
	}
}

func TestResultRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "termination-log")
	if err := Write(path, full()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), got); diff != "" {
		t.Error(diff)
	}
}

func TestEncodeMakesItFit(t *testing.T) {
	many := make([]Drift, 200)
	for i := range many {
		many[i] = Drift{Address: strings.Repeat("module.x.", 20), Actions: []string{"update"}}
	}
	fits(t, []fit{
		{"a long message is cut, and says so", Result{Class: ApplyFailed, Message: strings.Repeat("é", 5000)},
			func(r Result) bool { return strings.HasSuffix(r.Message, ellipsis) && len(r.Message) > 3000 }},
		{"one that escaping makes longer", Result{Class: ApplyFailed, Message: strings.Repeat("\x01<", 3000)},
			func(r Result) bool { return len(r.Message) > 200 }},
		{"one that is no text", Result{Class: ApplyFailed, Message: strings.Repeat("\xff", 5000)},
			func(r Result) bool { return r.Message == "?" }},
		{"drift gives way to the message",
			Result{Class: Planned, Message: strings.Repeat("m", 1000), Drift: many, DriftTotal: 200},
			func(r Result) bool { return len(r.Message) == 1000 && len(r.Drift) > 5 && r.DriftTotal == 200 }},
		{"of short drift only so much is listed", Result{Class: Planned, Drift: make([]Drift, 50), DriftTotal: 50},
			func(r Result) bool { return len(r.Drift) == MaxDrift && r.DriftTotal == 50 }},
	})
}

func TestEncodeMakesWarningsFit(t *testing.T) {
	line := strings.Repeat("w", 900)
	lines := []string{line, line, line, line, line, line, line, line}
	fits(t, []fit{
		{"warnings give way to the message, and to a few resources that drift",
			Result{Class: Planned, Message: strings.Repeat("m", 1000), Warnings: &Warnings{Total: 8, First: lines},
				Drift: make([]Drift, 20), DriftTotal: 20},
			func(r Result) bool {
				return len(r.Message) == 1000 && len(r.Drift) == keptDrift && r.Warnings.Total == 8 && len(r.Warnings.First) == 3
			}},
		{"checks are dropped after the warnings",
			Result{Class: Planned, Warnings: &Warnings{Total: 8, First: lines}, Checks: &Checks{Failed: 8, Messages: lines}},
			func(r Result) bool {
				return len(r.Warnings.First) == 0 && len(r.Checks.Messages) == 4 && r.Checks.Failed == 8
			}},
		{"of short warnings only so many are listed", Result{Class: Planned, Warnings: &Warnings{8, make([]string, 8)}},
			func(r Result) bool { return len(r.Warnings.First) == MaxWarnings }},
	})
}

// fit is a Result and what has to be left of it.
type fit struct {
	name   string
	result Result
	check  func(Result) bool
}

func fits(t *testing.T, tests []fit) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := roundTrip(t, test.result)
			if got.Class != test.result.Class || !test.check(got) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// roundTrip encodes, measures and parses.
func roundTrip(t *testing.T, r Result) Result {
	t.Helper()
	b, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > MaxResult {
		t.Fatalf("%d bytes", len(b))
	}
	got, err := Parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestEncodeOfWhatCannotFit(t *testing.T) {
	_, err := Encode(Result{Class: Applied, Run: strings.Repeat("r", MaxResult)})
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("plain", "addr", 3)
	f.Add(strings.Repeat("\xc3", 9000), "\x00", 30)
	f.Add(strings.Repeat("\"\\\u2028<", 2000), strings.Repeat("\u2029", 300), 25)
	f.Fuzz(func(t *testing.T, message, address string, drifts int) {
		r := Result{Class: ApplyFailed, Message: message}
		for range max(0, min(drifts, 100)) {
			r.Drift = append(r.Drift, Drift{Address: address, Actions: []string{"update"}})
		}
		b, err := Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > MaxResult || !utf8.Valid(b) {
			t.Fatalf("%d bytes, valid UTF-8: %v", len(b), utf8.Valid(b))
		}
		got, err := Parse(string(b))
		if err != nil || got.Class != ApplyFailed {
			t.Fatalf("got class %q, error %v", got.Class, err)
		}
	})
}

func TestParseRefusesWhatIsNoResult(t *testing.T) {
	for _, test := range []struct{ name, message string }{
		{"nothing", ""},
		{"a panic's text", "panic: runtime error"},
		{"no class", `{"version":1,"run":"a"}`},
		{"a class that no condition could carry", `{"class":"rm -rf /"}`},
		{"a class without an end", `{"class":"` + strings.Repeat("A", 2000) + `"}`},
		{"half a result", `{"class":"Applied"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if r, err := Parse(test.message); err == nil {
				t.Errorf("got %v", r)
			}
		})
	}
}

func TestParseIgnoresWhatANewerReleaseAdds(t *testing.T) {
	r, err := Parse(`{"version":9,"class":"Eclipsed","weather":"fine"}`)
	if err != nil || r.Class != "Eclipsed" {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestParamsRoundTrip(t *testing.T) {
	want := Params{
		Version: Version, Namespace: "team", Workspace: "vpn", Run: "vpn-1", Operation: Apply,
		Targets: []string{`module.a["x"].b`}, Replace: []string{"c.d"},
		Timeouts: Timeouts{Init: time.Minute, Plan: 2 * time.Minute, Apply: time.Hour, Grace: time.Second},
		PassEnv:  []string{"HTTPS_PROXY"}, PluginMirror: PluginMirror{Path: "/plugins", Direct: true},
		State: State{URL: "https://state", CA: "-----BEGIN\n"},
	}
	got, err := ParseParams(want.String())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParamsThatMoveAStateAreRefusedByADriverThatCannot(t *testing.T) {
	p := Params{Version: VersionMove, Place: Place{Move: true, From: &Backend{Type: "s3"}}}
	got, err := ParseParams(p.String())
	if err != nil || got.Place.From == nil || VersionMove <= Version {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWhatANewerReleaseWroteIsRefused(t *testing.T) {
	if _, err := ParseParams(`{"version":3}`); !errors.Is(err, ErrVersion) {
		t.Errorf("params: got %v", err)
	}
	if _, err := ParseSpec([]byte(`{"version":2}`)); !errors.Is(err, ErrVersion) {
		t.Errorf("spec: got %v", err)
	}
}

func TestSecretData(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"a string stands as it is", `"a\n\"b\" ${c}"`, "a\n\"b\" ${c}"},
		{"an empty string is empty", `""`, ""},
		{"a number is JSON", `1.50`, "1.50"},
		{"a list is JSON", `["a",1]`, `["a",1]`},
		{"an object is JSON", `{"a":null}`, `{"a":null}`},
		{"null is JSON", `null`, "null"},
		{"however it is indented, ordered and escaped", "{\n  \"b\": [1, 2],\n  \"a\": \"\\u003cx\\u003e\" }",
			`{"a":"<x>","b":[1,2]}`},
		{"with all its digits", `[12345678901234567890.10]`, `[12345678901234567890.10]`},
		{"what is no JSON stays", `{"a"`, `{"a"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := SecretData(map[string]Output{"x": {Value: json.RawMessage(test.value)}})
			if string(got["x"]) != test.want {
				t.Errorf("got %q, want %q", got["x"], test.want)
			}
		})
	}
}

func TestDigestOutputs(t *testing.T) {
	digest := func(data map[string][]byte) string {
		t.Helper()
		d, err := DigestOutputs(data)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a := digest(map[string][]byte{"a": []byte("1"), "b": []byte("2")})
	if a != digest(map[string][]byte{"b": []byte("2"), "a": []byte("1")}) {
		t.Error("equal data has different digests")
	}
	if a == digest(map[string][]byte{"a": []byte("2"), "b": []byte("1")}) {
		t.Error("different data has one digest")
	}
}

// TestSecretKey: a Secret's key may have letters, digits, dots, dashes and underscores, and 253 of them.
func TestSecretKey(t *testing.T) {
	keys := regexp.MustCompile(`^[-._a-zA-Z0-9]{1,253}$`)
	long := strings.Repeat("ñ", 200)
	seen := map[string]string{}
	for _, test := range []struct{ name, want string }{
		{"port", "port"},
		{"a-B_9", "a-B_9"},
		{"año", "a.c3.b1o"},
		{"ñ", ".c3.b1"},
		{"出力", ".e5.87.ba.e5.8a.9b"},
		{long, ""},
		{long + "a", ""},
	} {
		got := SecretKey(test.name)
		if test.want != "" && got != test.want || !keys.MatchString(got) || strings.HasPrefix(got, "..") {
			t.Errorf("%s: got %q", test.name, got)
		}
		if other, taken := seen[got]; taken {
			t.Errorf("%s and %s are both %s", test.name, other, got)
		}
		seen[got] = test.name
	}
}
