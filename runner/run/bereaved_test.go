package run

import (
	"testing"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func TestWhoseCredentialsAreToBeRevoked(t *testing.T) {
	vault, plain := testkit.Workspace("vpn").Vault("c", "p").Obj(), testkit.Workspace("vpn").Obj()
	said := result(job.ApplyFailed)
	for _, test := range []struct {
		name      string
		run       *testkit.RunBuilder
		workspace *v1alpha1.Workspace
		result    *job.Result
		want      v1alpha1.Revocation
	}{
		{"a driver without a word", launched(), vault, nil, v1alpha1.RevocationPending},
		{"a driver that could say how it ended has revoked by itself", launched(), vault, &said, ""},
		{"a Run that was never launched has nothing", testkit.Run("vpn", "vpn-1"), vault, nil, ""},
		{"nothing was asked of Vault", launched(), plain, nil, ""},
		{"the Workspace is gone", launched(), nil, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := Input{Run: test.run.Obj(), Workspace: test.workspace}
			bereaved(in, Decision{Do: Finish, Class: job.PodLost, Result: test.result})
			if got := in.Run.Status.Revocation; got != test.want {
				t.Errorf("got %q", got)
			}
		})
	}
}
