package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/semaphore"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state"
)

// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups="",resources=pods,verbs=get
// +kubebuilder:rbac:groups=plumbline.dev,resources=runs;workspaces,verbs=get
// +kubebuilder:rbac:groups=plumbline.dev,resources=runs/status,verbs=patch

const (
	// maxReviews is how many tokens the API server is asked about at once: callers with bad ones are not to take its time,
	// nor that of its other clients.
	maxReviews = 8

	extraPodName = "authentication.kubernetes.io/pod-name"
	extraPodUID  = "authentication.kubernetes.io/pod-uid"
	serviceUser  = "system:serviceaccount:"
	kindRun      = "Run"
)

// controllers are the accesses that the controller has, and whether it alone has them.
var controllers = map[access]bool{controls: true, inspects: true, readsOutputs: false}

// allowed tells whether the caller may use a route of the Workspace, as far as the identity alone says.
func allowed(a access, id Identity, namespace, workspace string) error {
	switch alone, may := controllers[a]; {
	case id.Controller && may:
		return nil
	case id.Controller:
		return fmt.Errorf("%w: this is for runner pods", ErrForbidden)
	case alone:
		return fmt.Errorf("%w: this is for the controller", ErrForbidden)
	case id.Namespace != namespace || id.Workspace != workspace:
		return fmt.Errorf("%w: the token is of a run of workspace %s/%s", ErrForbidden, id.Namespace, id.Workspace)
	case id.Over && a != finishes:
		return errOver(id.Run)
	}
	return nil
}

func errOver(run string) error { return fmt.Errorf("%w: run %s is over", ErrForbidden, run) }

// Cluster answers from the API server, always live: what a cache has not heard of yet must not look as if it were gone.
type Cluster struct {
	client     client.Client
	clock      clock.PassiveClock
	controller string

	known   remembered[Identity]
	refused remembered[error]
	reviews *semaphore.Weighted
}

var (
	_ Gate       = (*Cluster)(nil)
	_ Reports    = (*Cluster)(nil)
	_ state.Pods = (*Cluster)(nil)
)

// NewCluster returns a Cluster; controller is the controller's ServiceAccount as namespace:name. The client must not
// read from a cache.
func NewCluster(c client.Client, clk clock.PassiveClock, controller string) *Cluster {
	return &Cluster{
		client: c, clock: clk, controller: controller, known: remembered[Identity]{clock: clk},
		refused: remembered[error]{clock: clk}, reviews: semaphore.NewWeighted(maxReviews),
	}
}

// Identify implements Gate. It asks the API server as seldom as it can: not about what is no token for this service,
// not about what it was told a moment ago, and about few at once.
func (c *Cluster) Identify(ctx context.Context, token string) (Identity, error) {
	if err := plausible(token, c.clock.Now()); err != nil {
		return Identity{}, err
	}
	key := sha256.Sum256([]byte(token))
	if id, ok := c.known.recall(key); ok {
		return id, nil
	}
	if err := c.reviews.Acquire(ctx, 1); err != nil {
		return Identity{}, fmt.Errorf("waiting to ask about a token: %w", err)
	}
	defer c.reviews.Release(1)
	if id, ok := c.known.recall(key); ok {
		return id, nil
	}
	if err, ok := c.refused.recall(key); ok {
		return Identity{}, err
	}
	id, err := c.ask(ctx, token)
	switch {
	case err == nil:
		c.known.retain(key, id)
	case errors.Is(err, ErrUnauthenticated), errors.Is(err, ErrForbidden):
		c.refused.retain(key, err)
	}
	return id, err
}

// ask finds out from the API server whose token it is.
func (c *Cluster) ask(ctx context.Context, token string) (Identity, error) {
	user, err := c.review(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	account, ok := strings.CutPrefix(user.Username, serviceUser)
	if !ok {
		return Identity{}, fmt.Errorf("%w: the token is not a service account's", ErrForbidden)
	}
	if account == c.controller {
		return Identity{Controller: true}, nil
	}
	namespace, _, _ := strings.Cut(account, ":")
	return c.identifyPod(ctx, namespace, user)
}

// review asks the API server whose token it is.
func (c *Cluster) review(ctx context.Context, token string) (authenticationv1.UserInfo, error) {
	review := &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{job.StateAudience}},
	}
	if err := c.client.Create(ctx, review); err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("reviewing a token: %w", err)
	}
	if !review.Status.Authenticated || !slices.Contains(review.Status.Audiences, job.StateAudience) {
		return authenticationv1.UserInfo{}, fmt.Errorf(
			"%w: the token has expired, is of a pod that is gone, or is not for audience %s",
			ErrUnauthenticated, job.StateAudience)
	}
	return review.Status.User, nil
}

// identifyPod follows the token's Pod to its Run and Workspace.
func (c *Cluster) identifyPod(ctx context.Context, namespace string, user authenticationv1.UserInfo) (Identity, error) {
	name, uid := extra(user, extraPodName), extra(user, extraPodUID)
	if name == "" || uid == "" {
		return Identity{}, fmt.Errorf("%w: the token is not bound to a pod", ErrForbidden)
	}
	pod := &corev1.Pod{}
	if err := c.get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, pod); err != nil {
		return Identity{}, err
	}
	owner := metav1.GetControllerOf(pod)
	if string(pod.UID) != uid || !isRun(owner) {
		return Identity{}, fmt.Errorf("%w: pod %s/%s is not a run's", ErrForbidden, namespace, name)
	}
	id := Identity{Namespace: namespace, Run: owner.Name, RunUID: string(owner.UID), Pod: name, PodUID: uid}
	run, err := c.run(ctx, id)
	if err != nil {
		return Identity{}, err
	}
	id.Workspace, id.Over = run.Spec.WorkspaceName, finished(run)
	id.WorkspaceUID, err = c.workspaceOf(ctx, run)
	return id, err
}

func extra(user authenticationv1.UserInfo, key string) string {
	if v := user.Extra[key]; len(v) == 1 {
		return v[0]
	}
	return ""
}

func isRun(owner *metav1.OwnerReference) bool {
	if owner == nil || owner.Kind != kindRun {
		return false
	}
	gv, err := schema.ParseGroupVersion(owner.APIVersion)
	return err == nil && gv.Group == v1alpha1.GroupVersion.Group
}

// run returns the Run that the identity names, provided that it says that the Pod is its own. Names and owners are
// anybody's to choose who may create Pods; the Pod's UID in the Run's status is the controller's word.
func (c *Cluster) run(ctx context.Context, id Identity) (*v1alpha1.Run, error) {
	run := &v1alpha1.Run{}
	if err := c.get(ctx, client.ObjectKey{Namespace: id.Namespace, Name: id.Run}, run); err != nil {
		return nil, err
	}
	switch recorded := string(run.Status.PodUID); {
	case string(run.UID) == id.RunUID && run.Status.PodName == "" && !finished(run):
		return nil, fmt.Errorf("%w: run %s/%s, pod %s", errUnrecorded, id.Namespace, id.Run, id.Pod)
	case string(run.UID) != id.RunUID, run.Status.PodName != id.Pod, recorded != "" && recorded != id.PodUID:
		return nil, fmt.Errorf("%w: run %s/%s does not know pod %s", ErrForbidden, id.Namespace, id.Run, id.Pod)
	}
	return run, nil
}

// errUnrecorded is for a Pod that may have been quicker than the record of it: who repeats the request gets through as
// soon as the controller has written it, and never otherwise.
var errUnrecorded = errors.New("the launch of the run is not recorded yet")

// finished tells whether the Run has come to its end.
func finished(run *v1alpha1.Run) bool {
	done := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionSucceeded)
	return run.Status.FinishedAt != nil || (done != nil && done.Status != metav1.ConditionUnknown)
}

// Active implements Gate.
func (c *Cluster) Active(ctx context.Context, id Identity) error {
	run, err := c.run(ctx, id)
	if err != nil {
		return err
	}
	if finished(run) {
		return errOver(id.Run)
	}
	return nil
}

// workspaceOf is the UID of the Workspace that the Run was launched for. It may be gone, and another one have its name:
// what the Run still has to save is never the other one's.
func (c *Cluster) workspaceOf(ctx context.Context, run *v1alpha1.Run) (string, error) {
	if uid := run.Status.WorkspaceUID; uid != "" {
		return string(uid), nil
	}
	// Launched by a release that did not record it.
	ws := &v1alpha1.Workspace{}
	if err := c.get(ctx, client.ObjectKey{Namespace: run.Namespace, Name: run.Spec.WorkspaceName}, ws); err != nil {
		return "", err
	}
	if !metav1.IsControlledBy(run, ws) {
		return "", fmt.Errorf("%w: run %s/%s is not of the workspace of this name", ErrForbidden, run.Namespace, run.Name)
	}
	return string(ws.UID), nil
}

// WorkspaceUID implements Gate.
func (c *Cluster) WorkspaceUID(ctx context.Context, namespace, name string) (string, error) {
	ws := &v1alpha1.Workspace{}
	err := c.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, ws)
	if notFound(err) {
		return "", fmt.Errorf("workspace %s/%s: %w", namespace, name, state.ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("reading workspace: %w", err)
	}
	return string(ws.UID), nil
}

// get reads what a caller's identity rests on: a caller who names what isn't there is turned away.
func (c *Cluster) get(ctx context.Context, key client.ObjectKey, obj client.Object) error {
	err := c.client.Get(ctx, key, obj)
	if notFound(err) {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	if err != nil {
		return fmt.Errorf("reading %T: %w", obj, err)
	}
	return nil
}

// notFound is certain: a 404 that doesn't come from the API server's own handler, such as a proxy's, is none.
func notFound(err error) bool {
	return apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// Gone implements state.Pods.
func (c *Cluster) Gone(ctx context.Context, h state.Holder) (bool, error) {
	pod := &corev1.Pod{}
	err := c.client.Get(ctx, client.ObjectKey{Namespace: h.Namespace, Name: h.Pod}, pod)
	if notFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading pod %s/%s: %w", h.Namespace, h.Pod, err)
	}
	return string(pod.UID) != h.PodUID || ended(pod), nil
}

// ended tells whether nothing of a Pod runs any more or ever will: the kubelet says so of the Pod, or of each of its
// containers a moment before.
func ended(pod *corev1.Pod) bool {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return true
	}
	runs := func(c corev1.ContainerStatus) bool { return c.State.Terminated == nil }
	return pod.Spec.RestartPolicy == corev1.RestartPolicyNever && len(pod.Spec.Containers) > 0 &&
		len(pod.Status.ContainerStatuses) == len(pod.Spec.Containers) &&
		!slices.ContainsFunc(pod.Status.ContainerStatuses, runs)
}
