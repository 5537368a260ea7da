//go:build integration

package state_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	sigclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state/client"
	"github.com/plumbline-dev/plumbline/state/store/kube"
)

// TestArchiveOfARun: a Pod writes it through both replicas, also when its Run is over; the controller reads and removes
// it; no other Run's Pod gets near it.
func TestArchiveOfARun(t *testing.T) {
	s := startSystem(t)
	ns := newNamespace(t)
	newAccount(t, ns, "runner")
	w := newWorkspace(t, ns, "ws")
	run, pod := runOf(t, w, "run")
	_, stranger := runOf(t, w, "stranger")
	path := ns + "/ws/runs/run"
	pods := []caller{
		s.caller(t, 0, podToken(t, pod, job.StateAudience)), s.caller(t, 1, podToken(t, pod, job.StateAudience)),
	}
	offset, log := int64(0), ""
	for n := range 12 {
		text := strings.Repeat(fmt.Sprintln("line", n), 1000)
		packed, err := job.Chunk{Offset: offset, Text: []byte(text)}.Pack()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range pods {
			c.want(t, 200, fmt.Sprintf("PUT %s/log/%d", path, n), packed...)
		}
		offset, log = offset+int64(len(text)), log+text
	}
	patchStatus(t, run, func() { run.Status.FinishedAt = new(metav1.Now()) })
	pods[0].want(t, 200, "PUT "+path+"/plan", []byte("PK")...)
	s.caller(t, 0, podToken(t, stranger, job.StateAudience)).want(t, 403, "PUT "+path+"/plan.txt", 'x')

	own := token(t, sigclient.ObjectKey{Namespace: s.namespace, Name: controllerAccount},
		authenticationv1.TokenRequestSpec{Audiences: []string{job.StateAudience}})
	controller := s.caller(t, 1, own)
	if got := string(controller.want(t, 200, "GET "+path+"/log")); got != log {
		t.Errorf("the log has %d bytes, want %d", len(got), len(log))
	}
	if got := string(controller.want(t, 200, "GET "+path+"/plan")); got != "PK" {
		t.Errorf("the plan is %q", got)
	}
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	c := client.New(client.Options{URL: s.urls[0], CAFile: s.caFile, TokenFile: tokenFile})
	workspace := client.Workspace{Namespace: ns, Name: "ws", UID: string(w.UID)}
	if err := c.DeleteRun(t.Context(), workspace, "run"); err != nil {
		t.Error(err)
	}
	store := kube.New(kubeClient(t), s.namespace)
	if keys, err := store.List(t.Context(), "archive/"); err != nil || len(keys) > 0 {
		t.Errorf("left are %q, %v", keys, err)
	}
}
