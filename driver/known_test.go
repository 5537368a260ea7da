package driver

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/credentials"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestLearn: what is known under which name is masked in which text.
func TestLearn(t *testing.T) {
	const deep = `{"db": {"writer": {"user": "app", "password": "lamp-Oil-7711", "pin_key": 12345678}},
		"hosts": ["a", "db"], "tokens": ["word", {"x": "y"}], "inner": "{\"a\": {\"apiKey\": \"abc-defgh\"}}"}`
	for _, test := range []struct{ name, under, secret, text, want string }{
		{"a short word under a name that says nothing", "user", "admin", "admin of main", "admin of main"},
		{"one under the name of a secret", "db_password", "admin", "role admin, admins, admin-x, _admin",
			"role ***, admins, ***-x, _admin"},
		{"one in base64", "token", "geheim", "Z2VoZWlt", "***"},
		{"one with odd characters", "user", "p4$$", "xp4$$x", "x***x"},
		{"a long one under any name", "user", "administrator", "xadministrators", "x***s"},
		{"a number under any name", "user", "543210", "a543210", "a***"},
		{"a document at every level", "doc", deep, "pg://app:lamp-Oil-7711@db 12345678", "pg://app:***@db ***"},
		{"a list under the name of a secret", "doc", deep, "word words y", "*** words y"},
		{"a document in a document", "doc", deep, "it is abc-defgh", "it is ***"},
		{"a list of documents", "doc", `[{"token": "abc-defgh"}]`, "it is abc-defgh", "it is ***"},
		{"what is harmless in a document", "doc", `{"region": "eu-west-1"}`, "in eu-west-1", "in eu-west-1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &masker{}
			m.learn(leaf{test.under, test.secret})
			if got := m.apply(test.text); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestSensitiveValues: of an object each leaf by its own name, and numbers that are long enough to be secrets.
func TestSensitiveValues(t *testing.T) {
	m := &masker{}
	m.learn(sensitive(map[string]job.Output{
		"db": {Sensitive: true,
			Value: json.RawMessage(`{"user": "admin", "branch": "main", "password": "short", "port": 5432}`)},
		"pin":  {Sensitive: true, Value: json.RawMessage(`12345678901234567890`)},
		"rate": {Sensitive: true, Value: json.RawMessage(`1234567`)}, "open": {Value: json.RawMessage(`"not-sensitive"`)},
	})...)
	got := m.apply("admin main short shorter 5432 12345678901234567890 1234567 not-sensitive")
	if want := "admin main *** shorter 5432 *** 1234567 not-sensitive"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestSecretEnvIsMasked: variables of the Pod template that come from Secrets are secret, the others are not.
func TestSecretEnvIsMasked(t *testing.T) {
	b := newBench(t)
	b.useFake("tells")
	b.env["TELL"] = "lamp-Oil-7722"
	b.env["API"], b.env["PROXY"] = "lamp-Oil-7722", "proxy.example.com"
	b.cfg.Params.PassEnv = append(b.cfg.Params.PassEnv, "TELL", "API", "PROXY")
	b.cfg.Params.SecretEnv = []string{"API"}
	got := b.run(t.Context())
	log := b.log.String() + got.Message
	if strings.Contains(log, "lamp-Oil") || !strings.Contains(log, "denied for ***") {
		t.Errorf("%s: %s", got.Class, got.Message)
	}
}

// TestOnlyWhatIsAskedForIsMasked: the other fields of Vault's answer reach nobody, and may be words of any log.
func TestOnlyWhatIsAskedForIsMasked(t *testing.T) {
	r := &run{log: &logWriter{out: &buffer{}}, access: access{env: map[string]string{}, variables: map[string]string{}}}
	v := job.VaultRequest{Name: "kube", Env: map[string]string{"TOKEN": "service_account_token", "WHERE": "zone"}}
	answer := credentials.Answer{Data: map[string]string{
		"service_account_token": "abcdefgh.ijkl", "service_account_namespace": "plumbline-demo", "zone": "main",
	}}
	if err := r.distribute(v, answer.Data); err != nil {
		t.Fatal(err)
	}
	got := r.log.secrets.apply("abcdefgh.ijkl in plumbline-demo, main")
	if want := "*** in plumbline-demo, main"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
