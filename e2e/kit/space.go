package kit

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// restricted makes the API server refuse what PodSecurity's strictest level forbids.
var restricted = map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}

// Patience is how long tests wait for one thing to happen, unless they say otherwise.
const Patience = 90 * time.Second

// Space is one test's namespace, and its part of the cloud, which has the same name.
type Space struct {
	*Kit
	Name string
	// Patience is how long the test waits for one thing to happen.
	Patience time.Duration
}

// NewSpace makes a namespace for the test and removes it at the test's end. Options change it before it is made.
func (k *Kit) NewSpace(t testing.TB, options ...func(*corev1.Namespace)) *Space {
	t.Helper()
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:   "e2e-" + slug(t.Name()) + "-" + rand.String(5),
		Labels: maps.Clone(restricted),
	}}
	for _, option := range options {
		option(n)
	}
	if err := k.Create(t.Context(), n); err != nil {
		t.Fatalf("creating namespace: %v", err)
	}
	s := &Space{Kit: k, Name: n.Name, Patience: Patience}
	t.Cleanup(func() { s.remove(t) })
	return s
}

// slug is the test's name as a part of a namespace's.
func slug(name string) string {
	name = strings.ToLower(name[strings.LastIndex(name, "/")+1:])
	name = strings.TrimPrefix(name, "test")
	keep := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}
	name = strings.Map(keep, name)
	return strings.Trim(name[:min(len(name), 40)], "-")
}

// remove ends everything in the namespace. A namespace that wedges fails the test, whatever the test was about.
func (s *Space) remove(t testing.TB) {
	if t.Failed() {
		s.dump(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	path := "/spaces/" + s.Name + "/faults"
	if err := s.cloud("PUT", path).Body([]byte("[]")).Do(ctx).Error(); err != nil {
		t.Errorf("taking faults away: %v", err)
	}
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.Name}}
	if err := client.IgnoreNotFound(s.Delete(ctx, n)); err != nil {
		t.Errorf("deleting namespace: %v", err)
		return
	}
	if err := s.gone(ctx, n); err != nil {
		t.Errorf("namespace %s does not go away: %v\n%+v", s.Name, err, n.Status.Conditions)
		s.dump(t)
	}
}

// deadline is the test's context with the usual patience.
func (s *Space) deadline(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(t.Context(), s.Patience, fmt.Errorf("nothing of the kind within %s", s.Patience))
}

// Workspace is one with inline files, of the tests' RunnerClass, that tries again soon. Options change it.
func (s *Space) Workspace(
	name string, files map[string]string, options ...func(*v1alpha1.Workspace),
) *v1alpha1.Workspace {
	w := &v1alpha1.Workspace{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: name},
		Spec: v1alpha1.WorkspaceSpec{
			RunnerClassName: ClassName,
			Source:          v1alpha1.Source{Inline: &v1alpha1.InlineSource{Files: files}},
			Retry: &v1alpha1.Retry{
				MinDelay: &metav1.Duration{Duration: time.Second}, MaxDelay: &metav1.Duration{Duration: 5 * time.Second},
			},
			Timeouts: &v1alpha1.Timeouts{Grace: &metav1.Duration{Duration: 5 * time.Second}},
		},
	}
	for _, option := range options {
		option(w)
	}
	return w
}

// Create makes an object, or fails the test.
func (s *Space) Create(t testing.TB, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		o.SetNamespace(s.Name)
		if err := s.WithWatch.Create(t.Context(), o); err != nil {
			t.Fatalf("creating %T %q: %v", o, o.GetName(), err)
		}
	}
}

// Change edits an object as `kubectl edit` does, again when somebody was faster.
func (s *Space) Change(t testing.TB, o client.Object, edit func()) {
	t.Helper()
	ctx, cancel := s.deadline(t)
	defer cancel()
	err := s.until(ctx, func(ctx context.Context) error {
		if err := s.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		edit()
		return s.Update(ctx, o)
	})
	if err != nil {
		t.Fatalf("changing %T %q: %v", o, o.GetName(), err)
	}
}

// Secret is one with these strings.
func Secret(name string, data map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data}
}

// Rerun asks for a Run by annotation.
func (s *Space) Rerun(t testing.TB, w *v1alpha1.Workspace, value string) {
	t.Helper()
	s.Change(t, w, func() { metav1.SetMetaDataAnnotation(&w.ObjectMeta, v1alpha1.AnnotationRerun, value) })
}

// Pods are those in the namespace.
func (s *Space) Pods(t testing.TB) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	if err := s.List(t.Context(), &list, client.InNamespace(s.Name)); err != nil {
		t.Fatalf("listing Pods: %v", err)
	}
	return list.Items
}

// After is a context for cleaning up, when the test's own has ended.
func After(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}
