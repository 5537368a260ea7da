package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUndoRulesRemovesOnlyOurs(t *testing.T) {
	const theirs = `*filter
:INPUT ACCEPT [0:0]
:DOCKER - [0:0]
-A INPUT -j DOCKER
-A DOCKER -m comment --comment "not a -j KUBE-SERVICES rule" -j RETURN
COMMIT
`
	tests := map[string]struct{ saved, want string }{
		"nothing":     {"", ""},
		"only theirs": {theirs, ""},
		"a jump from a built-in chain": {
			`*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "not a -j KUBE-SERVICES rule" -j RETURN
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -p tcp -j ACCEPT
-A KUBE-SERVICES -j RETURN
COMMIT
`,
			`*nat
-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-F KUBE-SERVICES
-X KUBE-SERVICES
COMMIT
`,
		},
		"chains of both in two tables": {
			theirs + `*nat
:PLUMBLINE - [0:0]
:KUBE-SEP-1 - [0:0]
-A POSTROUTING -g PLUMBLINE
-A PLUMBLINE -s 10.231.0.0/20 -j KUBE-SEP-1
COMMIT
`,
			`*nat
-D POSTROUTING -g PLUMBLINE
-F PLUMBLINE
-F KUBE-SEP-1
-X PLUMBLINE
-X KUBE-SEP-1
COMMIT
`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, undoRules(test.saved)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
