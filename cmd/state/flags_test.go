package main

import (
	"io"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "")
	good := []string{"--namespace=sys", "--controller-service-account=sys:controller"}
	for _, test := range []struct {
		name string
		args []string
		says string
	}{
		{"the least", good, ""},
		{"no namespace", good[1:], "--namespace"},
		{"no controller", good[:1], "--controller-service-account"},
		{"a controller without namespace", []string{good[0], "--controller-service-account=x"}, "namespace:name"},
		{"too few versions", append([]string{"--keep-versions=1"}, good...), "--keep-versions"},
		{"too many versions", append([]string{"--keep-versions=501"}, good...), "--keep-versions"},
		{"an age that is none", append([]string{"--keep-age=-1h"}, good...), "--keep-age"},
		{"a grace that is none", append([]string{"--keep-deleted=-1h"}, good...), "--keep-deleted"},
		{"no secret for the keys", append([]string{"--seal-keys-secret="}, good...), "--seal-keys-secret"},
		{"a store that is none", append([]string{"--store=mysql://b"}, good...), "there are azblob://"},
		{"an API that nobody owns", append([]string{"--register-api", "--pod-name=p"}, good...), "--api-owner"},
		{"a transit key", append([]string{"--seal-transit=https://vault:8200/k?role=r"}, good...), ""},
		{"a transit key that is none", append([]string{"--seal-transit=vault"}, good...), "--seal-transit"},
		{"a level that is none", append([]string{"--log-level=loud"}, good...), "loud"},
		{"a flag that is none", append([]string{"--nope"}, good...), "nope"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse(test.args)
			if (err == nil) != (test.says == "") || (err != nil && !strings.Contains(err.Error(), test.says)) {
				t.Errorf("got %v, want an error with %q", err, test.says)
			}
		})
	}
}

func TestNamespaceComesFromThePod(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "sys")
	f, err := parse([]string{"--controller-service-account=sys:controller"})
	if err != nil || f.namespace != "sys" {
		t.Errorf("got %q, %v; want sys", f.namespace, err)
	}
}

func TestKeysCommands(t *testing.T) {
	for _, name := range []string{"", "help", "rotat"} {
		if err := keys(t.Context(), []string{name}, io.Discard); err == nil || !strings.Contains(err.Error(), "rotate") {
			t.Errorf("keys %s: got %v, want the commands that there are", name, err)
		}
	}
	t.Setenv("PLUMBLINE_SEAL_KEYS_SECRET", "rel-keys")
	f, err := parseKeys([]string{"--namespace=sys"})
	if err != nil || f.sealSecret != "rel-keys" {
		t.Errorf("got %q, %v; want the Secret that the server's Pod names, and no need of a controller", f.sealSecret, err)
	}
}
