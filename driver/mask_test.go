package driver

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

func masking(values ...string) *masker {
	m := &masker{}
	m.add(values...)
	return m
}

const pemKey = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIJ0l5y8kQ\nYyx9A0oGCCqGSM49\nAQ==\n" +
	"-----END EC PRIVATE KEY-----\n"

func TestMask(t *testing.T) {
	tests := []struct {
		name, secret, text, want string
	}{
		{"nothing known", "", "a text", "a text"},
		{"plain", "s3cr3t", "x s3cr3t s3cr3ts3cr3t", "x *** ******"},
		{"a file's value without its line's end", "s3cr3t\n", "x s3cr3t", "x ***"},
		{"in JSON", `a"b\c<d`, `{"a": "a\"b\\c<d"}`, `{"a": "***"}`},
		{"in JSON that is safe in HTML", `a"b\c<d`, `{"a": "a\"b\\c\u003cd"}`, `{"a": "***"}`},
		{"in JSON in JSON", `a"b\c`, `"{\"a\": \"a\\\"b\\\\c\"}"`, `"{\"a\": \"***\"}"`},
		{"in HCL", `a"${b}%{c}`, `a = "a\"$${b}%%{c}"`, `a = "***"`},
		{"in a query", "a b/c&d", "?x=a+b%2Fc%26d", "?x=***"},
		{"in a query of others", "a b/c&d", "?x=a%20b%2fc%26d", "?x=***"},
		{"in a path", "a b/c&d", "/a%20b%2Fc&d/", "/***/"},
		{"in hex", "s3cr3t-value", hex.EncodeToString([]byte("s3cr3t-value")), "***"},
		{"in base64", "s3cr3t!", base64.StdEncoding.EncodeToString([]byte("s3cr3t!")), "***"},
		{"in base64 for URLs", "s3\xff\xfe3t!", base64.RawURLEncoding.EncodeToString([]byte("s3\xff\xfe3t!")), "***"},
		{"several lines in one", pemKey, strings.ReplaceAll(pemKey, "\n", `\n`), `***\n`},
		{"a line of several", pemKey, "at YYyx MHcCAQEEIJ0l5y8kQ", "at YYyx ***"},
		{"the border of a PEM", pemKey, "-----BEGIN EC PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----"},
		{"a field of a document", `{"type": "sa", "private_key": "abc\ndefghijkl", "client_email": "me@example.com"}`,
			"me@example.com defghijkl", "me@example.com ***"},
		{"a setting in a file", "[default]\naws_secret_access_key = abcdefghij\nregion = eu-west-1\n",
			"abcdefghij in eu-west-1", "*** in eu-west-1"},
		{"a setting of a kubeconfig", "users:\n- user:\n    token: \"abcdefghij\"\n", "Bearer abcdefghij", "Bearer ***"},
		{"too short", "abc", "abc", "abc"},
		{"a port", "5432", "5432", "5432"},
		{"a number that is none", "543210", "543210", "***"},
		{"a word", "True", "it is True", "it is True"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := masking(test.secret).apply(test.text); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestTheLongestSecretWins(t *testing.T) {
	if got := masking("abcd", "abcdefgh").apply("abcdefgh abcd"); got != "*** ***" {
		t.Errorf("got %s", got)
	}
}

func TestMaskedJSONStaysJSON(t *testing.T) {
	m := masking("1234567", "geheim")
	got := m.document([]byte(`{"a": 1234567, "b": [true, 98765432101234, "x geheim"], "geheim": null}`))
	want := `{"***":null,"a":"***","b":[true,98765432101234,"x ***"]}`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, text := range []string{`{"a": 1}`, "no JSON at all"} {
		if got := m.document([]byte(text)); string(got) != text {
			t.Errorf("got %s, want %s", got, text)
		}
	}
}

// spellings are ways to write a value between two others.
var spellings = []func(before, value, after string) string{
	func(before, value, after string) string { return before + value + after },
	func(before, value, after string) string { return before + asJSON(value) + after },
	func(before, value, after string) string { return before + strconv.Quote(value) + after },
	func(before, value, after string) string { return before + url.QueryEscape(value) + after },
	func(before, value, after string) string { return before + url.PathEscape(value) + after },
	func(before, value, after string) string {
		return base64.StdEncoding.EncodeToString([]byte(before + value + after))
	},
	func(before, value, after string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(before + value + after))
	},
	func(before, value, after string) string {
		return before + base64.StdEncoding.EncodeToString([]byte(value)) + after
	},
}

func asJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// FuzzMask: a secret is nowhere in the log, however it is written, what stands around it, and in how many pieces it
// comes.
func FuzzMask(f *testing.F) {
	for i := range spellings {
		f.Add("s3cr\"t<${x}>&", "before ", " after", i, 7)
		f.Add("ab\xff\x00+/=%2F", "a", "b", i, 1)
	}
	f.Fuzz(func(t *testing.T, secret, before, after string, spelling, cut int) {
		secret = strings.TrimSpace(secret)
		// What is masked with asterisks could be read out of them, and a line's end is a matter of its own.
		if !worthMasking(secret) || strings.ContainsAny(secret+before+after, "*\n\r") || len(secret) < minLine {
			return
		}
		spell := spellings[uint(spelling)%uint(len(spellings))]
		text := spell(before, secret, after)
		var out bytes.Buffer
		log := &logWriter{out: &out}
		log.secrets.add(secret)
		stderr := &tail{out: log}
		cut = int(uint(cut) % uint(len(text)+1))
		_, _ = stderr.Write([]byte(text[:cut]))
		_, _ = stderr.Write([]byte(text[cut:]))
		stderr.flush()
		for _, form := range forms(secret) {
			if strings.Contains(out.String(), form) {
				t.Errorf("%q shows %q as %q", out.String(), secret, form)
			}
		}
		if !strings.Contains(out.String(), mask) {
			t.Errorf("nothing is masked in %q", out.String())
		}
	})
}

// TestSecretsStayOutOfWhatLeaves: whatever Terraform says of secrets, neither the log nor its archive, nor a message,
// nor a plan's archive has one; and a token that was renewed is one too.
func TestSecretsStayOutOfWhatLeaves(t *testing.T) {
	const password, psk = "p4ss<word>", "pre\"shared"
	b := newBench(t)
	b.useFake("tells")
	b.env["TELL"] = strings.Join([]string{password, psk, testToken}, "\n")
	b.cfg.Params.PassEnv = append(b.cfg.Params.PassEnv, "TELL")
	b.credential("cloud", map[string]string{"PASSWORD": password + "\n"})
	b.file(variablesFile, asJSON(map[string]string{"psk": psk, "region": "eu-west-1"}))
	b.cfg.Params.SecretVariables = []string{"psk"}
	got := b.run(t.Context())
	if got.Class != job.PlanFailed || !strings.Contains(got.Message, "denied for ***") {
		t.Errorf("%s: %s", got.Class, got.Message)
	}
	wire, message := b.reported()
	if got.Warnings == nil || !strings.HasSuffix(got.Warnings.First[0], "***") {
		t.Errorf("warnings: %+v", got.Warnings)
	}
	left := b.log.String() + b.state.archivedLog() + asJSON(wire) + asJSON(message)
	if !strings.Contains(left, "eu-west-1") {
		t.Error("what is no secret is masked too")
	}
	for _, secret := range []string{password, psk, testToken} {
		for _, form := range forms(secret) {
			if strings.Contains(left, form) {
				t.Errorf("%s left as %s", secret, form)
			}
		}
	}
}

// tells says all that it knows in all of its ways, and fails.
func tells(c call) int {
	for value := range strings.SplitSeq(os.Getenv("TELL"), "\n") {
		fmt.Println(value)
		fmt.Println(asJSON(map[string]string{"type": "log", "@message": "it is " + value + " in eu-west-1"}))
		for _, piece := range []string{
			"panic: ", value[:3], value[3:], "\n", url.QueryEscape(value), " ",
			base64.StdEncoding.EncodeToString([]byte("user:" + value + "@")), "\n",
		} {
			_, _ = os.Stderr.WriteString(piece)
		}
		fmt.Println(asJSON(map[string]any{"type": "diagnostic", "@message": "Warning", "diagnostic": map[string]string{
			"severity": "warning", "summary": strings.Repeat("w", maxWarning-len(value)/2) + value}}))
		c.fail("", "denied for "+value)
	}
	return 1
}

func TestPlanArchiveIsMasked(t *testing.T) {
	b := newBench(t)
	b.useFake("plan")
	b.cfg.Params.Operation = job.Plan
	b.credential("cloud", map[string]string{"TOKEN": "library", "NAME": "will be created"})
	b.run(t.Context())
	for part, want := range map[string]string{
		job.PartPlan: savedPlan, job.PartPlanText: "# a ***",
		job.PartPlanJSON: strings.Replace(shownJSON, "library", mask, 1),
	} {
		if got := string(b.state.parts[part]); got != want {
			t.Errorf("%s is %s, want %s", part, got, want)
		}
	}
}

func TestSensitiveOutputsAreMasked(t *testing.T) {
	b := newBench(t)
	b.hang("hangs-at", `{"@message":"the key is geheim","type":"log"}`, "terraform")
	b.state.state = []byte(stateOf(3))
	b.run(t.Context())
	if log := b.log.String(); !strings.Contains(log, "the key is ***") {
		t.Errorf("log: %s", log)
	}
	if b.state.count(http.MethodGet+" /state") == 0 {
		t.Error("the state was not read")
	}
}

func BenchmarkMask(b *testing.B) {
	m := &masker{}
	for i := range 50 {
		m.add(fmt.Sprintf("%c%d-secret-value-%d", 'A'+i, i*7919, i))
	}
	line := strings.Repeat("aws_instance.web[12]: Still creating... [id=i-0123456789abcdef0] ", 16)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		m.apply(line)
	}
}
