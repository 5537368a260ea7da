package render

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

func bucket(name string) *Backend {
	return &Backend{Type: "s3", Config: map[string]json.RawMessage{"bucket": raw(name), "use_lockfile": raw(true)}}
}

// TestOverride: arguments arrive unchanged; what an engine might evaluate is left to the driver.
func TestOverride(t *testing.T) {
	b := bucket("quotes \" and \n newlines")
	b.Config["key"], b.Config["nested"] = raw("${file(1)}"), raw(map[string]any{"a": []any{"%{ if true }"}})
	b.Config["escaped"] = json.RawMessage(`"\u0024{x}"`)
	b.SecretName, b.SecretDigest = "s", "d"
	got := render(t, Inputs{Source: inline(nil), Backend: b})
	want := `{
  "terraform": {
    "backend": {
      "s3": {
        "bucket": "quotes \" and \n newlines",
        "use_lockfile": true
      }
    }
  }
}`
	if diff := cmp.Diff(want, string(got.Data[BackendFile])); diff != "" {
		t.Error(diff)
	}
	backend := spec(t, got).Backend
	if backend == nil || backend.Type != "s3" || !backend.Secret || len(backend.Config) != 5 {
		t.Errorf("the driver is told %+v", backend)
	}
	if literal := backend.Literal(); len(literal) != 3 || literal["key"] == nil || literal["escaped"] == nil {
		t.Errorf("left to the driver: %v", literal)
	}
}

func TestWhichBackendsAreOnePlace(t *testing.T) {
	digest := func(config string) string {
		t.Helper()
		b := job.Backend{Type: "s3"}
		if err := json.Unmarshal([]byte(config), &b.Config); err != nil {
			t.Fatal(err)
		}
		d, err := b.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	one := digest(`{"bucket": "b", "endpoints": {"s3": "x", "sts": "y"}}`)
	if digest(`{"endpoints": {"sts":"y","s3":"x"}, "bucket":"b"}`) != one {
		t.Error("the order of keys makes another place")
	}
	if digest(`{"bucket": "c", "endpoints": {"s3": "x", "sts": "y"}}`) == one {
		t.Error("another bucket is the same place")
	}
}
