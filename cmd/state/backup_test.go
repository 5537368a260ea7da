package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/seal"
	"github.com/plumbline-dev/plumbline/state/store/transfer"
)

// nobody has Pods that live.
type nobody struct{}

func (nobody) Gone(context.Context, state.Holder) (bool, error) { return true, nil }

// installation is a system namespace with a store.
type installation struct {
	t *testing.T
	storeRun
	said *bytes.Buffer
	// uid is of the one Workspace.
	uid string
}

func installed(t *testing.T, c client.Client, namespace, store string) *installation {
	t.Helper()
	i := &installation{t: t, said: &bytes.Buffer{}, uid: wsUID}
	command, err := findStoreCommand("verify")
	if err == nil {
		err = i.parse(command, []string{"--namespace", namespace, "--store", store, "--seal-keys-secret", "keys"})
	}
	if err != nil {
		t.Fatal(err)
	}
	i.client, i.out = c, i.said
	return i
}

// service is a state service as it starts there.
func (i *installation) service() *state.Service {
	i.t.Helper()
	log := slog.New(slog.DiscardHandler)
	raw, err := i.open(i.t.Context(), i.store)
	if err == nil {
		err = state.Prove(i.t.Context(), raw)
	}
	if err != nil {
		i.t.Fatal(err)
	}
	sealed, err := seal.Open(i.t.Context(), i.sealing(i.client, raw, log))
	if err != nil {
		i.t.Fatal(err)
	}
	return state.New(state.Options{Store: sealed, Pods: nobody{}, Clock: clock.RealClock{}, Log: log})
}

const wsUID = "11111111-2222-3333-4444-555555555555"

func tfstate(serial int) []byte {
	return fmt.Appendf(nil, `{"version":4,"serial":%d,"lineage":"l","pad":%q}`, serial, strings.Repeat("x", 1<<10))
}

// live writes three versions, outputs and a log, and leaves a lock.
func (i *installation) live() {
	i.t.Helper()
	ctx, s := i.t.Context(), i.service()
	run := state.Holder{Namespace: "ns", Run: "a", Pod: "a", PodUID: "1"}
	errs := []error{s.Lock(ctx, i.uid, run, []byte(`{"ID":"1"}`)), s.PutOutputs(ctx, i.uid, []byte(`{"a":{"value":1}}`))}
	for serial := 1; serial <= 3; serial++ {
		_, err := s.Write(ctx, i.uid, state.Claim{Holder: run, LockID: "1"}, tfstate(serial))
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		i.t.Fatal(err)
	}
}

// wantAlive wants what live has left, and that it goes on.
func (i *installation) wantAlive() {
	i.t.Helper()
	ctx, s := i.t.Context(), i.service()
	data, err := s.State(ctx, i.uid)
	if err != nil || !bytes.Equal(data, tfstate(3)) {
		i.t.Errorf("the state is %.60s, %v", data, err)
	}
	if versions, err := s.Versions(ctx, i.uid); err != nil || len(versions) != 3 {
		i.t.Errorf("there are %d versions, %v; want 3", len(versions), err)
	}
	run := state.Holder{Namespace: "ns", Run: "b", Pod: "b", PodUID: "2"}
	_, write := state.Version{}, s.Lock(ctx, i.uid, run, []byte(`{"ID":"2"}`))
	if write == nil {
		_, write = s.Write(ctx, i.uid, state.Claim{Holder: run, LockID: "2"}, tfstate(4))
	}
	if write != nil {
		i.t.Errorf("it doesn't go on: %v", write)
	}
}

func cluster(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "ws", UID: types.UID(wsUID)}}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(ws).Build()
}

func fileURL(t *testing.T) string { return "file://" + t.TempDir() }

// TestBackUpAndRestore goes from one store to a backup and from there to an empty store, of which all is then opened.
func TestBackUpAndRestore(t *testing.T) {
	for name, store := range map[string]func() string{
		"secrets": func() string { return "kube://" }, "a folder": func() string { return fileURL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t)
			backUpAndRestore(t, installed(t, c, "old", store()), installed(t, c, "next", store()))
		})
	}
}

func backUpAndRestore(t *testing.T, old, next *installation) {
	t.Helper()
	old.live()
	backup, ring := fileURL(t), filepath.Join(t.TempDir(), "ring.json")
	old.to, old.keyRing = backup, ring
	if err := backUp(t.Context(), old.storeRun); err != nil {
		t.Fatalf("backing up: %v\n%s", err, old.said)
	}
	if info, err := os.Stat(ring); err != nil || info.Mode() != 0o600 {
		t.Errorf("the key ring's file: %v, %v; want it private", info, err)
	}
	next.from, next.keyRing = backup, ring
	if err := restore(t.Context(), next.storeRun); err != nil {
		t.Fatalf("restoring: %v\n%s", err, next.said)
	}
	if said := next.said.String(); !strings.Contains(said, " 0 are damaged") || strings.Contains(said, "orphaned:") {
		t.Errorf("it said:\n%s", said)
	}
	next.wantAlive()
	// A second time there is something, and it stays.
	if err := restore(t.Context(), next.storeRun); !errors.Is(err, transfer.ErrOccupied) {
		t.Errorf("restoring over a store: got %v, want ErrOccupied", err)
	}
	old.wantAlive()
}

func TestAnotherKeyRingIsNotReplaced(t *testing.T) {
	c := cluster(t)
	old, next := installed(t, c, "old", fileURL(t)), installed(t, c, "next", fileURL(t))
	old.live()
	next.service() // it has made a key ring
	old.to, old.keyRing = fileURL(t), filepath.Join(t.TempDir(), "ring.json")
	if err := backUp(t.Context(), old.storeRun); err != nil {
		t.Fatal(err)
	}
	next.from, next.keyRing = old.to, old.keyRing
	if err := restore(t.Context(), next.storeRun); err == nil || !strings.Contains(err.Error(), "another key ring") {
		t.Errorf("got %v, want that there is another key ring", err)
	}
	old.to = fileURL(t)
	if err := backUp(t.Context(), old.storeRun); !errors.Is(err, os.ErrExist) {
		t.Errorf("a backup over another one's key ring: got %v, want ErrExist", err)
	}
}

// A store with a damaged value is backed up with all that can be, and the restored one has it damaged.
func TestDamageIsBackedUp(t *testing.T) {
	c := cluster(t)
	old, next := installed(t, c, "old", "kube://"), installed(t, c, "next", fileURL(t))
	old.live()
	heads := &corev1.SecretList{}
	key := "state/" + wsUID + "/000000000002"
	if err := c.List(t.Context(), heads, client.InNamespace("old")); err != nil {
		t.Fatal(err)
	}
	for i := range heads.Items {
		if s := &heads.Items[i]; s.Annotations["plumbline.dev/store-key"] == key {
			s.Data["value"] = []byte("x")
			if err := c.Update(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	old.to, old.keyRing = fileURL(t), filepath.Join(t.TempDir(), "ring.json")
	if err := backUp(t.Context(), old.storeRun); !errors.Is(err, errIncomplete) || !strings.Contains(err.Error(), key) {
		t.Errorf("got %v, want that %s is damaged", err, key)
	}
	next.from, next.keyRing = old.to, old.keyRing
	if err := restore(t.Context(), next.storeRun); !errors.Is(err, errFindings) {
		t.Errorf("got %v, want errFindings", err)
	}
	if data, err := next.service().State(t.Context(), wsUID); err != nil || !bytes.Equal(data, tfstate(3)) {
		t.Errorf("the state is %.60s, %v", data, err)
	}
}

func TestVerifyTellsWhatIsWrong(t *testing.T) {
	i := installed(t, cluster(t), "sys", fileURL(t))
	if err := verifyStore(t.Context(), i.storeRun); err != nil || !strings.Contains(i.said.String(), "0 values") {
		t.Errorf("an empty store: %v\n%s", err, i.said)
	}
	ring := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "sys", Name: "keys"}}
	if err := i.client.Get(t.Context(), client.ObjectKeyFromObject(ring), ring); err == nil {
		t.Error("a look at a store has made a key ring")
	}
	i.live()
	raw, err := i.open(t.Context(), i.store)
	if err != nil {
		t.Fatal(err)
	}
	key := "state/" + wsUID + "/000000000002"
	value, err := raw.Get(t.Context(), key)
	if err == nil {
		value[len(value)-1] ^= 1
		err = errors.Join(raw.Delete(t.Context(), key), raw.Create(t.Context(), key, value),
			i.service().PutOutputs(t.Context(), "gone", []byte(`{}`)))
	}
	if err != nil {
		t.Fatal(err)
	}
	i.said.Reset()
	err = verifyStore(t.Context(), i.storeRun)
	for _, part := range []string{"damaged: " + key, "orphaned: gone", "1 are damaged", "1 workspaces are gone"} {
		if !errors.Is(err, errFindings) || !strings.Contains(i.said.String(), part) {
			t.Errorf("got %v, want that it says %q:\n%s", err, part, i.said)
		}
	}
}

func TestStoreCommands(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "sys")
	for args, says := range map[string]string{
		"":                                     "verify",
		"cop":                                  "verify",
		"copy --from file:///a":                "store copy needs --to",
		"copy --from file:///a --to mysql://b": "there are azblob://",
		"backup --to file:///a":                "store backup needs --key-ring",
		"restore --key-ring x":                 "store restore needs --from",
		"verify --store nonsense":              "there are azblob://",
		"verify --nope":                        "nope",
	} {
		if err := storeCmd(t.Context(), strings.Fields(args)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("store %s: got %v, want an error with %q", args, err, says)
		}
	}
	from, to := fileURL(t), fileURL(t)
	if err := storeCmd(t.Context(), []string{"copy", "--from", from, "--to", to}); err != nil {
		t.Errorf("copying one folder into another needs no cluster: %v", err)
	}
}
