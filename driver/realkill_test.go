//go:build integration

package driver

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// killer is a log that kills the engine with SIGKILL after so many lines that say that something was made.
type killer struct {
	buffer
	kill  sync.Mutex
	after int
}

func (k *killer) Write(p []byte) (int, error) {
	k.kill.Lock()
	defer k.kill.Unlock()
	if n := bytes.Count(p, []byte(": Creation complete")); n > 0 && k.after > 0 {
		if k.after -= n; k.after <= 0 {
			killEngines()
		}
	}
	return k.buffer.Write(p)
}

func (k *killer) set(after int) {
	k.kill.Lock()
	defer k.kill.Unlock()
	k.after = after
}

const many = `
resource "terraform_data" "plain" {
  count = 40
  provisioner "local-exec" { command = "sleep 0.02" }
}
resource "terraform_data" "keyed" {
  for_each = toset([for n in range(10) : "k ${n} \"q\" $${x}"])
  provisioner "local-exec" { command = "sleep 0.02" }
}
module "m" {
  source   = "./m"
  for_each = toset(["a", "b.c"])
}
`

const nested = `
resource "terraform_data" "inner" {
  count = 25
  provisioner "local-exec" { command = "sleep 0.02" }
}
`

var creation = regexp.MustCompile(`(?m)^(.*): Creation complete after \S+ \[id=([^]]+)\]`)

// TestRealKilledEngines: an apply of 100 resources whose engine is killed at random moments. Nothing that was reported
// as made is made again, and each of it stands in the state at last, with the ID that it was made with.
func TestRealKilledEngines(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		b.file("main.tf", many)
		b.file("m/main.tf", nested)
		log := &killer{}
		b.cfg.Stdout, b.log = log, &log.buffer
		for n := range 3 {
			log.set(1 + rand.IntN(12))
			b.again()
			b.cfg.Params.Run = "vpn-1"
			got := b.run(t.Context())
			if got.Class.Succeeded() || got.Class == job.StateUnsaved {
				t.Fatalf("killed %d times: %s: %s", n+1, got.Class, got.Message)
			}
		}
		log.set(0)
		b.again()
		if got := b.run(t.Context()); got.Class != job.Applied {
			t.Fatalf("at last: %s: %s", got.Class, got.Message)
		}
		made := map[string]string{}
		for _, m := range creation.FindAllStringSubmatch(b.log.String(), -1) {
			if id := made[m[1]]; id != "" {
				t.Errorf("%s was made twice: %s and %s", m[1], id, m[2])
			}
			made[m[1]] = m[2]
			if !strings.Contains(string(b.state.state), m[2]) {
				t.Errorf("%s (%s) is not in the state", m[1], m[2])
			}
		}
		if len(made) != 100 || len(b.state.made) != 0 {
			t.Errorf("%d were made, %v is noted", len(made), b.state.made)
		}
		b.again()
		if got := b.run(t.Context()); got.Class != job.NoChanges {
			t.Errorf("again: %s: %s", got.Class, got.Message)
		}
		fmt.Fprintln(t.Output(), strings.Count(b.log.String(), "Taken over:"), "were taken over")
	})
}

const replaced = `
resource "terraform_data" "first" {
  lifecycle { create_before_destroy = true }
}
resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" { command = "sleep ${fileexists("fast") ? 0 : 30}" }
}
`

// TestRealKilledReplacement: an engine that is killed between the making of a replacement and the destruction of what
// it replaces. The replacement stays, and what it replaces is destroyed by the next Run.
func TestRealKilledReplacement(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		b.file("main.tf", replaced)
		b.file("fast", "")
		if got := b.run(t.Context()); got.Class != job.Applied {
			t.Fatalf("at first: %s: %s", got.Class, got.Message)
		}
		before := idOf(t, b, "first")
		b.spec.Files = b.spec.Files[:len(b.spec.Files)-1]
		made := killedReplacing(t, b)
		if idOf(t, b, "first") != before || len(b.state.made) != 1 {
			t.Fatalf("made %q, before %s, noted %v, stored %s", made, before, b.state.made, b.state.state)
		}
		b.again()
		got := b.run(t.Context())
		if got.Class != job.Applied || got.Changes == nil || *got.Changes != (job.Changes{Destroy: 1}) {
			t.Errorf("afterwards: %s: %s, %+v", got.Class, got.Message, got.Changes)
		}
		if now := idOf(t, b, "first"); now != made || strings.Contains(string(b.state.state), before) {
			t.Errorf("%s was made to replace %s, and the state has %s", made, before, b.state.state)
		}
	})
}

// killedReplacing is a Run whose engine is killed when the first replacement is made; it returns its ID.
func killedReplacing(t *testing.T, b *bench) string {
	t.Helper()
	log := &killer{after: 1}
	b.cfg.Stdout, b.log = log, &log.buffer
	b.cfg.Params.Replace = []string{"terraform_data.first", "terraform_data.second"}
	b.again()
	if got := b.run(t.Context()); got.Class.Succeeded() || got.Class == job.StateUnsaved {
		t.Fatalf("killed: %s: %s", got.Class, got.Message)
	}
	made := creation.FindStringSubmatch(b.log.String())
	if made == nil || made[1] != "terraform_data.first" {
		t.Fatalf("made %q", made)
	}
	log.set(0)
	b.cfg.Params.Replace = nil
	return made[2]
}

// idOf is the ID of a resource in the stored state.
func idOf(t *testing.T, b *bench, name string) string {
	t.Helper()
	in := indexState(b.state.state)[address{Type: "terraform_data", Name: name}.key()]
	if len(in) != 1 {
		t.Fatalf("%d objects of %s in %s", len(in), name, b.state.state)
	}
	return string(bytes.Trim(in[0].Attributes["id"], `"`))
}

// TestRealRefusedImport: what the configuration doesn't have any more can't be imported. It is held by both engines.
func TestRealRefusedImport(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		b.file("main.tf", `resource "terraform_data" "other" {}`)
		b.state.made = map[string][]item{"vpn-0": {begun()}}
		got := b.run(t.Context())
		if got.Class != job.StateUnsaved {
			t.Fatalf("%s: %s", got.Class, got.Message)
		}
		b.isHeld(got, begun())
		b.again()
		b.spec.Files = nil
		b.file("main.tf", `resource "terraform_data" "b" { count = 1 }`)
		if got := b.run(t.Context()); got.Class != job.NoChanges || len(b.state.made) != 0 {
			t.Errorf("with it: %s: %s; noted %v", got.Class, got.Message, b.state.made)
		}
	})
}
