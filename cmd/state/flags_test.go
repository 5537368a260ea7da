package main

import (
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
		{"a store that is none", append([]string{"--store=mysql://b"}, good...), "there are azblob://"},
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
