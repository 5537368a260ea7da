package v1alpha1

import (
	"encoding/json"
	"testing"
)

// TestNullIsToldFromNothing: and each comes out as it went in.
func TestNullIsToldFromNothing(t *testing.T) {
	for text, want := range map[string]string{
		`{"name":"a","value":null}`:       "null",
		`{"name":"a","value":{"b":null}}`: `{"b":null}`,
		`{"name":"a","value":0}`:          "0",
		`{"name":"a"}`:                    "",
		`{"name":"a","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}`: "",
	} {
		var v Variable
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		got := ""
		if v.Value != nil {
			got = string(v.Value.Raw)
		}
		if got != want {
			t.Errorf("the value of %s is %q, want %q", text, got, want)
		}
		if back, err := json.Marshal(v); err != nil || string(back) != text {
			t.Errorf("%s comes back as %s, %v", text, back, err)
		}
	}
}
