package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/client-go/rest"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// objects is the path of Plumbline's own objects of a kind.
func (s *session) objects(kind string) string {
	return "/apis/" + v1alpha1.GroupVersion.String() + "/namespaces/" + s.namespace + "/" + kind
}

// getJSON reads an answer of any path.
func (s *session) getJSON(ctx context.Context, path string, into any) error {
	body, err := raw(s.rest.Get().AbsPath(path).Do(ctx))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}

// raw is an answer's body; what the server says of a failure is in the error.
func raw(r rest.Result) ([]byte, error) {
	if err := r.Error(); err != nil {
		return nil, err
	}
	return r.Raw()
}

// checkName keeps what is no name out of paths.
func checkName(name string) error {
	if wrong := content.IsPathSegmentName(name); name == "" || len(wrong) > 0 {
		return fmt.Errorf("%q is not a name: %s", name, cmp.Or(strings.Join(wrong, ", "), "it is empty"))
	}
	return nil
}

func (s *session) run(ctx context.Context, name string) (*v1alpha1.Run, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	run := &v1alpha1.Run{}
	if err := s.getJSON(ctx, s.objects("runs/"+name), run); err != nil {
		return nil, fmt.Errorf("reading run %s: %w", name, err)
	}
	return run, nil
}

// errNoRun tells that a Workspace has none that fits.
var errNoRun = errors.New("no such run")

// pick chooses one of a Workspace's Runs, which come oldest first.
type pick func(runs []v1alpha1.Run) *v1alpha1.Run

// find returns the Run that a person means: by its own name, or by that of its Workspace. run/NAME and workspace/NAME
// tell the two apart.
func (s *session) find(ctx context.Context, arg string, pick pick) (*v1alpha1.Run, error) {
	if name, ok := strings.CutPrefix(arg, "run/"); ok {
		return s.run(ctx, name)
	}
	name, certain := strings.CutPrefix(arg, "workspace/")
	if err := checkName(name); err != nil {
		return nil, err
	}
	err := s.getJSON(ctx, s.objects("workspaces/"+name), &v1alpha1.Workspace{})
	if err == nil {
		return s.runOf(ctx, name, pick)
	}
	if certain || !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("reading workspace %s: %w", name, err)
	}
	run, err := s.run(ctx, name)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("there is neither a Workspace nor a Run %q in namespace %q; what is archived of Runs that "+
			"are gone: plumbline logs WORKSPACE --list", name, s.namespace)
	}
	return run, err
}

func (s *session) runOf(ctx context.Context, workspace string, pick pick) (*v1alpha1.Run, error) {
	var list v1alpha1.RunList
	if err := s.getJSON(ctx, s.objects("runs"), &list); err != nil {
		return nil, fmt.Errorf("listing the runs of workspace %s: %w", workspace, err)
	}
	runs := slices.DeleteFunc(list.Items, func(r v1alpha1.Run) bool { return r.Spec.WorkspaceName != workspace })
	slices.SortStableFunc(runs, func(a, b v1alpha1.Run) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	if run := pick(runs); run != nil {
		return run, nil
	}
	return nil, fmt.Errorf("workspace %s: %w", workspace, errNoRun)
}

// activeOrNewest is the Run that goes on, the next one otherwise, or else the last one.
func activeOrNewest(runs []v1alpha1.Run) *v1alpha1.Run {
	var waiting *v1alpha1.Run
	for i := range runs {
		switch r := &runs[i]; {
		case r.Status.FinishedAt != nil:
		case r.Status.PodName != "":
			return r
		case waiting == nil:
			waiting = r
		}
	}
	if waiting == nil && len(runs) > 0 {
		waiting = &runs[len(runs)-1]
	}
	return waiting
}

// newestPlan is the last Run that has planned only.
func newestPlan(runs []v1alpha1.Run) *v1alpha1.Run {
	for i := range runs {
		if r := &runs[len(runs)-1-i]; r.Spec.Operation == v1alpha1.OperationPlan && r.Status.FinishedAt != nil {
			return r
		}
	}
	return nil
}
