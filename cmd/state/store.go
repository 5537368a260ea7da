package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/seal"
	"github.com/plumbline-dev/plumbline/state/store/open"
	"github.com/plumbline-dev/plumbline/state/store/transfer"
)

// storeTimeout bounds a command on a store: it reads all there is.
const storeTimeout = 12 * time.Hour

// storeCommand is one of plumbline-state store.
type storeCommand struct {
	name, does string
	// needs are the flags that must be given.
	needs []string
	run   func(ctx context.Context, s storeRun) error
}

// storeRun is what such a command works with.
type storeRun struct {
	flags
	from, to, keyRing string
	// client is nil where neither a store nor a key ring is in the cluster.
	client client.Client
	in     io.Reader
	out    io.Writer
}

var storeCommands = []storeCommand{
	{"copy", "copies the store at --from into the empty one at --to, as it is", []string{"from", "to"}, copyStore},
	{"verify", "opens every value of --store, and lists what is damaged, orphaned or unreferenced", nil, verifyStore},
	{"backup", "copies --store into the empty store at --to, and its key ring into --key-ring", []string{"to", "key-ring"},
		backUp},
	{"restore", "copies the backup at --from into the empty --store, makes the key ring of --key-ring, and verifies",
		[]string{"from", "key-ring"}, restore},
}

func findStoreCommand(name string) (storeCommand, error) {
	var help strings.Builder
	for _, c := range storeCommands {
		if c.name == name {
			return c, nil
		}
		fmt.Fprintf(&help, "\n  %-8s %s", c.name, c.does)
	}
	return storeCommand{}, fmt.Errorf("plumbline-state store COMMAND [flags], where COMMAND is one of:%s", help.String())
}

// storeCmd runs a command on a store; args begin with its name, and the flags are those that the servers run with, and
// --from, --to and --key-ring.
func storeCmd(ctx context.Context, args []string) error {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	command, err := findStoreCommand(name)
	if err != nil {
		return err
	}
	s := storeRun{in: os.Stdin, out: os.Stdout}
	if err := s.parse(command, args); err != nil {
		return err
	}
	if command.name != "copy" || strings.HasPrefix(s.from, "kube:") || strings.HasPrefix(s.to, "kube:") {
		if s.client, err = connect(slog.New(slog.DiscardHandler)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return command.run(ctx, s)
}

func (s *storeRun) parse(command storeCommand, args []string) (err error) {
	given := map[string]*string{"from": &s.from, "to": &s.to, "key-ring": &s.keyRing}
	s.flags, err = parseAny(args, func(set *flag.FlagSet) {
		set.StringVar(&s.from, "from", "", "URL of the store that is read")
		set.StringVar(&s.to, "to", "", "URL of the store that is written; it must be empty")
		set.StringVar(&s.keyRing, "key-ring", "", "file of the key ring; - is standard output, or input")
	})
	if err != nil {
		return err
	}
	for _, name := range command.needs {
		if *given[name] == "" {
			return fmt.Errorf("store %s needs --%s", command.name, name)
		}
	}
	for _, address := range []string{s.from, s.to} {
		if address == "" {
			continue
		}
		if err := open.Check(address); err != nil {
			return err
		}
	}
	s.controller = ":" // it serves nobody
	return s.check()
}

func (s storeRun) open(ctx context.Context, address string) (state.Store, error) {
	return open.Open(ctx, address, open.Options{Client: s.client, Namespace: s.namespace, Clock: clock.RealClock{}})
}

func (s storeRun) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func copyStore(ctx context.Context, s storeRun) error { return s.transfer(ctx, s.from, s.to) }

// transfer copies one store into another, and says what it does.
func (s storeRun) transfer(ctx context.Context, fromURL, toURL string) error {
	from, err := s.open(ctx, fromURL)
	if err != nil {
		return err
	}
	to, err := s.open(ctx, toURL)
	if err != nil {
		return err
	}
	s.say("Copying a store as it is; it opens with the same key ring. Nothing is changed at the source. What is written " +
		"to it meanwhile is copied after it: stop the state service first if the copy is to take its place.")
	done, err := transfer.Copy(ctx, transfer.Options{From: from, To: to, Say: s.say})
	if err != nil {
		return fmt.Errorf("copying: %w", err)
	}
	s.say("%d values are in the copy and were read back; %d of them were written now.", done.Values, done.Copied)
	if len(done.Damaged) > 0 {
		return fmt.Errorf("%w, and are damaged in the copy too: %s", errIncomplete, strings.Join(done.Damaged, ", "))
	}
	return nil
}

// errIncomplete is returned for a copy of a store that has damaged values; all that can be copied was.
var errIncomplete = errors.New("the copy is complete, but values can't be read at the source")

// errFindings makes the exit code: what is wrong has been said.
var errFindings = errors.New("the store has values that can't be read")

func verifyStore(ctx context.Context, s storeRun) error {
	store, err := s.openSealed(ctx)
	if err != nil {
		return err
	}
	workspaces, err := s.workspaces(ctx)
	if err != nil {
		return err
	}
	service := state.New(state.Options{Store: store, Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler)})
	found, err := service.Verify(ctx, workspaces)
	if err != nil {
		return fmt.Errorf("verifying: %w", err)
	}
	for _, kind := range []struct {
		name string
		list []state.Finding
	}{
		{"damaged", found.Damaged}, {"damaged, and gone on behind", found.Kept}, {"orphaned", found.Orphaned},
		{"unreferenced", found.Unreferenced},
	} {
		for _, f := range kind.list {
			s.say("%s: %s: %s", kind.name, f.Key, f.What)
		}
	}
	s.say("%d values were opened: %d are damaged, %d more were and are kept, %d workspaces are gone, %d values are "+
		"unreferenced.", found.Values, len(found.Damaged), len(found.Kept), len(found.Orphaned), len(found.Unreferenced))
	if len(found.Damaged) > 0 {
		return errFindings
	}
	return nil
}

// openSealed opens what is sealed, if anything is: a look at a store must not begin with making keys.
func (s storeRun) openSealed(ctx context.Context) (state.Store, error) {
	raw, err := s.open(ctx, s.store)
	if err != nil {
		return nil, err
	}
	keys, err := raw.List(ctx, seal.KeysDir)
	if err != nil {
		return nil, fmt.Errorf("listing data keys: %w", err)
	}
	if len(keys) == 0 {
		s.say("Nothing is sealed with keys of this store: it is read as it is.")
		return raw, nil
	}
	return seal.Open(ctx, s.sealing(s.client, raw, slog.New(slog.DiscardHandler)))
}

// workspaces tells which there are; nobody does where they may not be listed, as by the state service's own account.
func (s storeRun) workspaces(ctx context.Context) (state.Workspaces, error) {
	list := &v1alpha1.WorkspaceList{}
	err := s.client.List(ctx, list)
	if apierrors.IsForbidden(err) {
		s.say("Workspaces may not be listed here, so nobody looks for orphans: run it as somebody who may.")
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the workspaces: %w", err)
	}
	there := map[string]bool{}
	for i := range list.Items {
		there[string(list.Items[i].UID)] = true
	}
	return func(_ context.Context, uid string) (bool, error) { return there[uid], nil }, nil
}
