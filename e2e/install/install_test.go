package install

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/images"
)

func TestValues(t *testing.T) {
	i := installer{Options: Options{
		Images: []images.Image{
			{Name: "state", Reference: "registry.example.com:5000/team/plumbline/state:1.0", Key: "k1"},
			{Name: "runner", Reference: "registry.example.com:5000/team/plumbline/runner:1.0", Key: "k2"},
		},
		Values: []string{"state.replicas=1"},
	}}
	want := []string{
		"--set-string", "image.registry=registry.example.com:5000",
		"--set-string", "image.repository=team/plumbline",
		"--set-string", "image.tag=1.0",
		"--set-string", `state.podAnnotations.plumbline\.dev/image=k1`,
		"--set-json", "state.replicas=1",
	}
	if diff := cmp.Diff(want, i.values()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
