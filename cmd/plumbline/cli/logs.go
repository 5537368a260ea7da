package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/state/people"
)

const (
	// container is Terraform's; others may be injected into the Pod.
	container = "runner"
	// lookAgain is how often a Run that is followed is looked at.
	lookAgain = time.Second
	// lastWords is for how long after its end something of a Run may still reach the archive.
	lastWords = 15 * time.Second
)

// errNoLog tells that nothing was said so far.
var errNoLog = errors.New("there is no log yet")

func (t *tool) logs() *cobra.Command {
	var follow, list bool
	var old archivedRun
	c := &cobra.Command{
		Use: "logs WORKSPACE|RUN", Short: "Show the log of a Run, or of the Run of a Workspace that goes on or was the last",
		Long: "Show the log of a Run, or of the Run of a Workspace that goes on or was the last. It comes from the Pod " +
			"while there is one that you may read, and from the archive otherwise.\n\n" +
			"run/NAME and workspace/NAME tell a Run from a Workspace of the same name.\n\n" +
			"The archive outlives the Run: --list shows what a Workspace has of it, and --run reads it.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := t.connect()
			if err != nil {
				return err
			}
			if list {
				return s.listArchive(c.Context(), args[0])
			}
			if old.asked() {
				return s.showArchived(c.Context(), args[0], "log", old)
			}
			run, err := s.find(c.Context(), args[0], activeOrNewest)
			if errors.Is(err, errNoRun) {
				return fmt.Errorf("workspace %s has no Run yet: kubectl describe workspace %s says why", args[0], args[0])
			}
			if err != nil {
				return err
			}
			reader := &logReader{session: s, name: run.Name}
			if follow {
				return reader.follow(c.Context())
			}
			return reader.show(c.Context(), run)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the Run has ended; wait for it to begin")
	c.Flags().BoolVar(&list, "list", false, "list the Runs of the Workspace of which something is archived")
	old.flags(c)
	c.MarkFlagsMutuallyExclusive("follow", "list", "run")
	return c
}

// logReader prints the log of one Run. Pod and archive hold the same text from the beginning, so what was printed is
// skipped, wherever it came from.
type logReader struct {
	*session
	name    string
	printed int64
	// archived is the end of what was printed from the archive; nil before that, and where a part of it broke off.
	archived *int
	said     string
}

func (l *logReader) show(ctx context.Context, run *v1alpha1.Run) error {
	err := l.print(ctx, run, "false")
	if errors.Is(err, errNoLog) {
		return fmt.Errorf("run %s: %w: %s", l.name, err, phase(run))
	}
	return err
}

// follow prints until the Run has ended and all that it said is there.
func (l *logReader) follow(ctx context.Context) error {
	for {
		run, err := l.run(ctx, l.name)
		if err != nil {
			return err
		}
		before := l.printed
		err = l.print(ctx, run, "true")
		if err != nil && !errors.Is(err, errNoLog) && !errors.Is(err, errBroken) {
			return err
		}
		if l.complete(run, err == nil && l.printed == before) {
			return err
		}
		if errors.Is(err, errNoLog) {
			l.say(phase(run))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.Clock.After(lookAgain):
		}
	}
}

// say tells what is waited for, once.
func (l *logReader) say(text string) {
	if text != l.said {
		fmt.Fprintf(l.Err, "waiting for run %s: %s\n", l.name, text)
		l.said = text
	}
}

// complete tells whether nothing more is to be expected of a Run whose log was silent at the last look or not.
func (l *logReader) complete(run *v1alpha1.Run, silent bool) bool {
	if run.Status.FinishedAt == nil {
		return false
	}
	return silent || l.Clock.Since(run.Status.FinishedAt.Time) > lastWords
}

func phase(run *v1alpha1.Run) string {
	c := apimeta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionSucceeded)
	switch {
	case c == nil:
		return "it was just made"
	case c.Message == "":
		return c.Reason
	}
	return c.Reason + ": " + c.Message
}

// print prints what there is and was not printed, from the Pod if that is possible.
func (l *logReader) print(ctx context.Context, run *v1alpha1.Run, follow string) error {
	if run.Status.PodName != "" {
		path := "/api/v1/namespaces/" + l.namespace + "/pods/" + run.Status.PodName + "/log"
		err := l.copy(ctx, l.rest.Get().AbsPath(path).Param("container", container).Param("follow", follow))
		switch {
		case errors.Is(err, errBehind):
			return nil
		case apierrors.IsBadRequest(err): // its container waits to be started
			return errNoLog
		case err == nil || !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err):
			return err
		}
	}
	err := l.printArchived(ctx)
	if apierrors.IsNotFound(err) && !notServed(err) {
		return errNoLog
	}
	return err
}

// printArchived asks the archive for what came since the last time. A service of an earlier release can't say where its
// log ends, and is asked for the whole; so it is until the archive has all that the Pod has said.
func (l *logReader) printArchived(ctx context.Context) error {
	log := l.rest.Get().AbsPath(people.RunPath(l.namespace, l.name) + "/log")
	var now people.LogEnd
	told, err := l.rest.Get().AbsPath(people.RunPath(l.namespace, l.name) + "/log/end").DoRaw(ctx)
	if err != nil || json.Unmarshal(told, &now) != nil {
		if err = l.copy(ctx, log); errors.Is(err, errBehind) {
			return nil
		}
		return err
	}
	log.Param(people.QueryUntil, strconv.Itoa(now.End))
	if l.archived == nil {
		err = l.copy(ctx, log)
	} else if now.End > *l.archived {
		err = l.printFrom(ctx, log.Param(people.QueryAfter, strconv.Itoa(*l.archived)), 0)
	}
	switch {
	case errors.Is(err, errBehind):
		return nil
	case err != nil:
		l.archived = nil
	default:
		l.archived = &now.End
	}
	return err
}

// errBehind tells that a log does not reach yet to where it was printed.
var errBehind = errors.New("the log ends before what was printed")

// copy prints of a whole log what comes after what was printed.
func (l *logReader) copy(ctx context.Context, request *rest.Request) error {
	return l.printFrom(ctx, request, l.printed)
}

func (l *logReader) printFrom(ctx context.Context, request *rest.Request, skip int64) error {
	stream, err := request.Stream(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	_, err = io.CopyN(io.Discard, stream, skip)
	if errors.Is(err, io.EOF) {
		return errBehind
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	to := &output{Writer: l.Out}
	n, err := io.Copy(to, stream)
	l.printed += n
	if to.err != nil {
		return fmt.Errorf("writing the log: %w", to.err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	return nil
}

// errBroken tells that a stream has broken off. Who follows looks again.
var errBroken = errors.New("the log broke off")

// output keeps the error of a reader that has gone apart from those of the log.
type output struct {
	io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	o.err = err
	return n, err
}
