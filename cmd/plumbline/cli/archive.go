package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
)

// archivedRun is a Run of a Workspace that is looked for in the archive, for the Run itself may be gone.
type archivedRun struct{ run, uid string }

func (a *archivedRun) flags(c *cobra.Command) {
	c.Flags().StringVar(&a.run, "run", "",
		"a Run of the Workspace, from the archive alone: it may be gone. plumbline logs WORKSPACE --list shows them")
	c.Flags().StringVar(&a.uid, "run-uid", "", "the UID of that Run, where several had its name; "+
		state.NoRunUID+": what a former release has archived by the name alone")
}

// asked tells whether there is one to look for.
func (a *archivedRun) asked() bool { return a.run != "" || a.uid != "" }

// workspaceOf is the name of a Workspace that a person means.
func workspaceOf(arg string) (string, error) {
	if strings.HasPrefix(arg, "run/") {
		return "", fmt.Errorf("%s: name the Workspace that the Run was of", arg)
	}
	name := strings.TrimPrefix(arg, "workspace/")
	return name, checkName(name)
}

func (s *session) listArchive(ctx context.Context, arg string) error {
	workspace, err := workspaceOf(arg)
	if err != nil {
		return err
	}
	var list people.ArchivedRuns
	if err := s.getJSON(ctx, people.WorkspacePath(s.namespace, workspace)+"/runs", &list); err != nil {
		return err
	}
	if len(list.Runs) == 0 {
		fmt.Fprintln(s.Err, "Nothing is archived.")
		return nil
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "RUN\tUID\tFIRST SEEN")
	for _, r := range list.Runs {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Run, r.UID, r.Seen)
	}
	return w.Flush()
}

// showArchived prints what is archived of a Run, as it comes.
func (s *session) showArchived(ctx context.Context, arg, part string, a archivedRun) error {
	workspace, err := workspaceOf(arg)
	if err != nil {
		return err
	}
	if err := checkName(a.run); err != nil {
		return fmt.Errorf("--run: %w", err)
	}
	request := s.rest.Get().AbsPath(people.ArchivePath(s.namespace, workspace, a.run) + "/" + part)
	if a.uid != "" {
		request.Param(people.QueryRunUID, a.uid)
	}
	err = (&logReader{session: s}).copy(ctx, request)
	if apierrors.IsNotFound(err) && !notServed(err) {
		return fmt.Errorf("no %s of a run %s of workspace %s is archived (any more): plumbline logs %s --list shows of "+
			"which Runs something is: %w", part, a.run, workspace, workspace, err)
	}
	return err
}
