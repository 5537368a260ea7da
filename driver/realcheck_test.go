//go:build integration

package driver

import (
	"bytes"
	"slices"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// manySecrets have paths whose order in the state is Terraform's whim.
const manySecrets = `
variable "psk" {
  sensitive = true
}
resource "terraform_data" "a" {
  input = { a = var.psk, b = var.psk, c = var.psk, d = var.psk, e = var.psk }
}
`

// TestRealCheck: a check that finds nothing writes and locks nothing; one that finds a difference puts it right.
func TestRealCheck(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		b.file("main.tf", manySecrets)
		b.file("terraform.tfvars.json", `{"psk": "geheim"}`)
		want := func(class job.Class, serial int64, written bool) {
			t.Helper()
			b.again()
			b.state.asked = nil
			got := b.run(t.Context())
			if got.Class != class || got.StateSerial != serial {
				t.Errorf("got %s, serial %d, want %s and %d: %s", got.Class, got.StateSerial, class, serial, b.log)
			}
			for _, call := range []string{"LOCK /state", "POST /state", "UNLOCK /state"} {
				if slices.Contains(b.state.asked, call) != written {
					t.Errorf("%s: it did %v", class, b.state.asked)
				}
			}
		}
		want(job.Applied, 1, true)
		b.cfg.Params.Check = true
		for range 4 {
			want(job.NoChanges, 1, false)
		}
		b.state.state = bytes.ReplaceAll(b.state.state, []byte("geheim"), []byte("changed"))
		want(job.Applied, 2, true)
	})
}
