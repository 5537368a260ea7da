package kit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbao/openbao/api/v2"

	"github.com/plumbline-dev/plumbline/e2e/vaultserver"
)

// AwaitLeases waits until there are so many.
func (v *Vault) AwaitLeases(t testing.TB, s *Space, prefix string, want int) {
	t.Helper()
	if err := v.untilLeases(t, s, prefix, want); err != nil {
		t.Fatalf("waiting for %d leases of %s: %v", want, prefix, err)
	}
}

// AwaitNoLease waits until there is none, after elections. Those that Vault itself has lost, whose tokens are gone, are
// ended as docs/credentials.md tells people to.
func (v *Vault) AwaitNoLease(t testing.TB, s *Space, prefix string) {
	t.Helper()
	if err := v.untilLeases(t, s, prefix, 0); err == nil {
		return
	}
	n, err := v.Leases(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d leases of %s are left: Vault tidies those whose tokens are gone", n, prefix)
	if err := v.WriteAll(t.Context(), vaultserver.Write{Path: "sys/leases/tidy"}); err != nil {
		t.Fatal(err)
	}
	v.AwaitLeases(t, s, prefix, 0)
}

func (v *Vault) untilLeases(t testing.TB, s *Space, prefix string, want int) error {
	t.Helper()
	ctx, cancel := s.deadline(t)
	defer cancel()
	return s.until(ctx, func(ctx context.Context) error {
		n, err := v.Leases(ctx, prefix)
		if err == nil && n != want {
			err = fmt.Errorf("there are %d", n)
		}
		return err
	})
}

// Issued are all secret values that Vault has given to anybody but root until now: what was read, and login tokens.
func (v *Vault) Issued(t testing.TB) []string {
	t.Helper()
	log, err := os.ReadFile(v.audit)
	if err != nil {
		t.Fatalf("reading the audit log: %v", err)
	}
	issued := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(log))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var entry auditEntry
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			t.Fatalf("reading the audit log: %v", err)
		}
		entry.collect(issued)
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("reading the audit log: %v", err)
	}
	return slices.Sorted(maps.Keys(issued))
}

// auditEntry is a line of Vault's audit log, of a device that logs values as they are.
type auditEntry struct {
	Type     string `json:"type"`
	Response struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		} `json:"auth"`
		Data map[string]any `json:"data"`
	} `json:"response"`
	Request struct {
		Path      string `json:"path"`
		Operation string `json:"operation"`
	} `json:"request"`
}

// secretFields are those of what the tests read that are secret.
var secretFields = []string{"password", "service_account_token", "value"}

func (e auditEntry) collect(into map[string]bool) {
	if e.Type != "response" {
		return
	}
	if strings.HasSuffix(e.Request.Path, "/login") {
		into[e.Response.Auth.ClientToken] = true
	}
	data := e.Response.Data
	if inner, ok := data["data"].(map[string]any); ok {
		data = inner
	}
	for _, field := range secretFields {
		if value, ok := data[field].(string); ok && e.Request.Operation != "list" {
			into[value] = true
		}
	}
	delete(into, "")
}

// Grant makes a role of the database engine for one Space, whose users live so long and at most so long. It returns the
// path that they are asked from.
func (v *Vault) Grant(t testing.TB, s *Space, ttl, longest time.Duration) string {
	t.Helper()
	if err := v.WriteAll(t.Context(), write("database/roles/"+s.Name, databaseRole(ttl, longest))); err != nil {
		t.Fatal(err)
	}
	return "database/creds/" + s.Name
}

// Keep puts a value under secret/, below the Space's name, and returns the path that it is read from.
func (v *Vault) Keep(t testing.TB, s *Space, value string) string {
	t.Helper()
	if err := v.WriteAll(t.Context(), write("secret/data/"+s.Name, data{"data": data{"value": value}})); err != nil {
		t.Fatal(err)
	}
	return "secret/data/" + s.Name
}

// StaticUser is the path of the database engine's static role: one user whose password Vault changes.
const StaticUser = "database/static-creds/fixed"

// StaticPassword is the static role's, as it is now.
func (v *Vault) StaticPassword(t testing.TB) string {
	t.Helper()
	answer, err := v.Ask(t.Context(), func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		return c.Logical().ReadWithContext(ctx, StaticUser)
	})
	if err != nil || answer == nil {
		t.Fatalf("reading %s: %v", StaticUser, err)
	}
	password, _ := answer.Data["password"].(string)
	return password
}

// Rotate gives the static role another password.
func (v *Vault) Rotate(t testing.TB) {
	t.Helper()
	if err := v.WriteAll(t.Context(), write("database/rotate-role/fixed", nil)); err != nil {
		t.Fatal(err)
	}
}

func write(path string, d data) vaultserver.Write { return vaultserver.Write{Path: path, Data: d} }
