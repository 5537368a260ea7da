//go:build integration

package driver

import (
	"net/http"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const secretive = `
resource "terraform_data" "a" {
  input = sensitive("geheimnis-7")
  provisioner "local-exec" { command = "%s" }
}
`

// TestRealUnsavedState: what both engines do with a state that is refused, and how the next Run goes on. Where they
// can't write a file, they print it.
func TestRealUnsavedState(t *testing.T) {
	for name, command := range map[string]string{"in a file": "true", "printed": "mkdir " + erroredState} {
		t.Run(name, func(t *testing.T) {
			withEngines(t, func(t *testing.T, b *bench) {
				b.file("main.tf", strings.Replace(secretive, "%s", command, 1))
				b.state.answer = func(method, path string, _ int) int {
					if method == http.MethodPost && path == "/state" {
						return http.StatusRequestEntityTooLarge
					}
					return 0
				}
				got := b.run(t.Context())
				if got.Class != job.StateUnsaved || got.Changes == nil || got.Changes.Add != 1 || len(b.state.unsaved) != 1 {
					t.Fatalf("%s: %s, changes %+v, %d states kept", got.Class, got.Message, got.Changes, len(b.state.unsaved))
				}
				if strings.Contains(b.log.String()+b.state.archivedLog(), "geheimnis") {
					t.Error("the state is in the log")
				}
				b.state.answer = nil
				b.again()
				got = b.run(t.Context())
				if got.Class != job.NoChanges || !strings.Contains(string(b.state.state), "geheimnis-7") {
					t.Errorf("the next Run: %s: %s", got.Class, got.Message)
				}
			})
		})
	}
}
