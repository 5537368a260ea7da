package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
)

func (t *tool) stateOrphans() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "orphans", Short: "List the states that no Workspace owns", Args: cobra.NoArgs,
		Long: "List the states that no Workspace owns: of Workspaces that were deleted with the policy Orphan, with their " +
			"namespace, or that came back from a backup as another object. state pull --uid reads them, and state adopt " +
			"takes them over. Of a state whose owner was never noted there is neither namespace nor name.",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := t.connect()
			if err != nil {
				return err
			}
			namespace := s.namespace
			if all {
				namespace = ""
			}
			orphans, err := s.orphans(c.Context(), namespace)
			if err != nil {
				return err
			}
			if len(orphans) == 0 {
				fmt.Fprintln(s.Err, "Each state has a Workspace that owns it.")
				return nil
			}
			return printOrphans(s.Out, orphans, s.Clock.Now())
		},
	}
	c.Flags().BoolVarP(&all, "all-namespaces", "A", false, "all namespaces', and those whose owner was never noted")
	return c
}

func (s *session) orphans(ctx context.Context, namespace string) ([]state.Kept, error) {
	var list people.Orphans
	err := s.getJSON(ctx, people.StatesPath(namespace), &list)
	return list.Orphans, err
}

func printOrphans(out io.Writer, orphans []state.Kept, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "UID\tNAMESPACE\tWORKSPACE\tVERSIONS\tSERIAL\tRESOURCES\tLAST WRITE\tDELETED")
	for _, k := range orphans {
		age, resources, deleted := "", "unknown", ""
		if !k.At.IsZero() {
			age = duration.HumanDuration(now.Sub(k.At))
		}
		if !k.Deleted.IsZero() {
			deleted = duration.HumanDuration(now.Sub(k.Deleted))
		}
		if k.Resources != nil {
			resources = strconv.Itoa(*k.Resources)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", k.UID, k.Namespace, k.Name, k.Versions, k.Serial, resources,
			age, deleted)
	}
	return w.Flush()
}

// adoption is what state adopt is asked for.
type adoption struct {
	from, why string
	all       bool
}

func (t *tool) stateAdopt() *cobra.Command {
	var a adoption
	c := &cobra.Command{
		Use: "adopt [WORKSPACE] --from UID | --all-in-namespace", Args: cobra.MaximumNArgs(1),
		Short: "Take over the state that was kept for an earlier Workspace",
		Long: "Take over the state that was kept for an earlier Workspace, which is gone. The Workspace goes on with it at " +
			"once.\n\n--from none expects no state: the Workspace goes on with what there is, or with none.\n\n" +
			"--all-in-namespace does it for each Workspace that is StateMissing and for whose name there is just one state.",
		RunE: func(c *cobra.Command, args []string) error {
			if a.all != (len(args) == 0) || a.all == (a.from != "") {
				return errors.New("name a Workspace and --from UID (plumbline state orphans shows them), or --all-in-namespace")
			}
			s, err := t.connect()
			if err != nil {
				return err
			}
			if a.all {
				return s.adoptAll(c.Context(), a)
			}
			if err := checkName(args[0]); err != nil {
				return err
			}
			return s.adopt(c.Context(), args[0], a)
		},
	}
	c.Flags().StringVar(&a.from, "from", "", "the UID whose state is taken over, or none")
	c.Flags().BoolVar(&a.all, "all-in-namespace", false, "each Workspace of the namespace that is StateMissing")
	c.Flags().StringVar(&a.why, "why", "", "the reason, for those who read the list of versions or the audit")
	return c
}

// adopt takes the state over as the person that asks, and then has the controller go on: what it is asked for is done.
func (s *session) adopt(ctx context.Context, workspace string, a adoption) error {
	asked, err := json.Marshal(people.Adoption{From: a.from, Why: a.why})
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	path := people.WorkspacePath(s.namespace, workspace) + "/state/adopt"
	body, err := raw(s.rest.Post().AbsPath(path).Body(asked).Do(ctx))
	if err != nil {
		return err
	}
	var v state.Version
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": map[string]string{v1alpha1.AnnotationAdoptState: a.from}},
	})
	if err != nil {
		return fmt.Errorf("encoding the annotation: %w", err)
	}
	err = s.rest.Patch(types.MergePatchType).AbsPath(s.objects("workspaces/" + workspace)).Body(patch).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("the state is %s's now, but the Workspace can't be told to go on; annotate it with %s=%s: %w",
			workspace, v1alpha1.AnnotationAdoptState, a.from, err)
	}
	if v.Number == 0 {
		fmt.Fprintf(s.Out, "%s goes on without a state\n", workspace)
		return nil
	}
	fmt.Fprintf(s.Out, "%s goes on with the state of UID %s, serial %d\n", workspace, a.from, v.Serial)
	return nil
}

// adoptAll goes on after a Workspace that it can't do anything for, and fails in the end.
func (s *session) adoptAll(ctx context.Context, a adoption) error {
	var list v1alpha1.WorkspaceList
	if err := s.getJSON(ctx, s.objects("workspaces"), &list); err != nil {
		return fmt.Errorf("listing workspaces: %w", err)
	}
	orphans, err := s.orphans(ctx, s.namespace)
	if err != nil {
		return err
	}
	byName := map[string][]state.Kept{}
	for _, k := range orphans {
		if !k.Deleted.IsZero() {
			continue // what it managed is destroyed: nobody misses it
		}
		byName[k.Name] = append(byName[k.Name], k)
	}
	left := 0
	for i := range list.Items {
		w := &list.Items[i]
		if !stateMissing(w) {
			continue
		}
		found := byName[w.Name]
		err := fmt.Errorf("there are %d states of that name: say which by --from", len(found))
		if len(found) == 1 {
			a.from = found[0].UID
			err = s.adopt(ctx, w.Name, a)
		}
		if err != nil {
			left++
			fmt.Fprintf(s.Err, "%s: %s\n", w.Name, Explain(err))
		}
	}
	if left > 0 {
		return fmt.Errorf("%d Workspaces are left as they were", left)
	}
	return nil
}

func stateMissing(w *v1alpha1.Workspace) bool {
	c := apimeta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
	return c != nil && c.Reason == string(job.StateMissing)
}
