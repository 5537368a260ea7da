package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/state/people"
)

// +kubebuilder:rbac:groups=apiregistration.k8s.io,resources=apiservices,resourceNames=v1alpha1.state.plumbline.dev,verbs=get;create;patch;delete
// +kubebuilder:rbac:groups=discovery.k8s.io,namespace=plumbline-system,resources=endpointslices,verbs=list

const (
	registerEvery = 10 * time.Second
	// registerSoon is the first pause after a failure; it doubles up to registerEvery.
	registerSoon = time.Second
	// maxRegisterDelay bounds the growing pause after somebody has taken the registration away.
	maxRegisterDelay = 10 * time.Minute
	registerTimeout  = 10 * time.Second

	registrant = "plumbline-state"
)

// The type has a module of its own, which is not worth one object.
var apiServiceKind = schema.GroupVersionKind{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService"}

// Registration says what the API server passes on, and to whom.
type Registration struct {
	Client client.Client
	// Service and Port are where all state servers are reached, Pod is the name of this one.
	Service client.ObjectKey
	Port    int64
	Pod     string
	// Secret has the CA of the servers' certificates, unless CAFile is given.
	Secret client.ObjectKey
	CAFile string
	// Owner is a ClusterRole with which the registration goes when all of it is uninstalled.
	Owner string
	Front *FrontProxy
	Clock clock.Clock
	Log   *slog.Logger
}

// Registrar keeps the APIService registered while a state server serves, and takes it away with the last one. The API
// server refuses to delete any namespace while it can't reach a registered service; what becomes of one whose servers
// all died at once is the controller's care (runner/aggregation).
type Registrar struct {
	Registration
	// delay grows each time that the registration turns out to be gone: one that nobody can reach is not fought for.
	delay time.Duration
	next  time.Time
}

// NewRegistrar returns a Registrar; Keep does the work.
func NewRegistrar(r Registration) *Registrar { return &Registrar{Registration: r} }

// Keep registers again and again until ctx ends; then it takes the registration away unless others serve.
func (r *Registrar) Keep(ctx context.Context) {
	soon, said := registerSoon, ""
	for {
		pause := registerEvery
		if err := r.bounded(ctx, r.ensure); err == nil {
			soon, said = registerSoon, ""
		} else {
			pause, soon = soon, min(2*soon, registerEvery)
			if text := err.Error(); text != said && ctx.Err() == nil { // a cluster may be without aggregation for good
				r.Log.WarnContext(ctx, "the API for people can't be registered yet; it is tried again", "error", err)
				said = text
			}
		}
		select {
		case <-ctx.Done():
			r.Clock.Sleep(notReadyFor) // until the cluster has seen that this server is leaving
			if err := r.bounded(context.WithoutCancel(ctx), r.leave); err != nil {
				r.Log.WarnContext(ctx, "taking the API for people away failed", "error", err)
			}
			return
		case <-r.Clock.After(pause):
		}
	}
}

func (r *Registrar) bounded(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	return do(ctx)
}

// ensure registers, provided that the API server has something to be trusted by and finds somebody to ask.
func (r *Registrar) ensure(ctx context.Context) error {
	if err := r.Front.Ready(ctx); err != nil {
		return err
	}
	served, err := r.served(ctx, "")
	if err != nil {
		return err
	}
	if !served {
		return errors.New("no state server is ready yet")
	}
	found, err := r.find(ctx)
	switch {
	case err != nil:
		return err
	case found == nil && !r.due():
		return nil
	case found != nil && available(found):
		r.delay = 0
	}
	wanted, err := r.wanted(ctx)
	if err != nil {
		return err
	}
	err = r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted),
		client.FieldOwner(registrant), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("applying the APIService: %w", err)
	}
	return nil
}

// due tells whether to register what is not registered.
func (r *Registrar) due() bool {
	now := r.Clock.Now()
	if now.Before(r.next) {
		return false
	}
	r.delay = min(max(2*r.delay, registerEvery), maxRegisterDelay)
	r.next = now.Add(r.delay)
	return true
}

func (r *Registrar) find(ctx context.Context) (*unstructured.Unstructured, error) {
	found := newAPIService()
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(found), found)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the APIService: %w", err)
	}
	return found, nil
}

func newAPIService() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(apiServiceKind)
	u.SetName(people.APIService)
	return u
}

// available tells what the API server thinks.
func available(u *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Available" {
			return m["status"] == "True"
		}
	}
	return false
}

func (r *Registrar) wanted(ctx context.Context) (*unstructured.Unstructured, error) {
	ca, err := r.ca(ctx)
	if err != nil {
		return nil, err
	}
	var owner rbacv1.ClusterRole
	if err := r.Client.Get(ctx, client.ObjectKey{Name: r.Owner}, &owner); err != nil {
		return nil, fmt.Errorf("reading the registration's owner: %w", err)
	}
	u := newAPIService()
	u.SetLabels(map[string]string{"app.kubernetes.io/name": "plumbline", "app.kubernetes.io/component": "state"})
	u.Object["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{
		"apiVersion": rbacv1.SchemeGroupVersion.String(), "kind": "ClusterRole",
		"name": owner.Name, "uid": string(owner.UID),
	}}
	u.Object["spec"] = map[string]any{
		"group": people.Group, "version": people.Version,
		"groupPriorityMinimum": int64(100), "versionPriority": int64(10),
		"caBundle": ca,
		"service": map[string]any{
			"namespace": r.Service.Namespace, "name": r.Service.Name, "port": r.Port,
		},
	}
	return u, nil
}

// ca returns the bundle as JSON holds bytes.
func (r *Registrar) ca(ctx context.Context) (string, error) {
	if r.CAFile != "" {
		bundle, err := os.ReadFile(r.CAFile)
		if err != nil {
			return "", fmt.Errorf("reading the CA: %w", err)
		}
		return base64.StdEncoding.EncodeToString(bundle), nil
	}
	var secret corev1.Secret
	if err := r.Client.Get(ctx, r.Secret, &secret); err != nil {
		return "", fmt.Errorf("reading the CA: %w", err)
	}
	if len(secret.Data[keyCACert]) == 0 {
		return "", fmt.Errorf("secret %s has no %s: name a CA file", r.Secret, keyCACert)
	}
	return base64.StdEncoding.EncodeToString(secret.Data[keyCACert]), nil
}

// served tells whether a state server is ready, but for one Pod.
func (r *Registrar) served(ctx context.Context, without string) (bool, error) {
	var slices discoveryv1.EndpointSliceList
	err := r.Client.List(ctx, &slices, client.InNamespace(r.Service.Namespace),
		client.MatchingLabels{discoveryv1.LabelServiceName: r.Service.Name})
	if err != nil {
		return false, fmt.Errorf("looking for state servers: %w", err)
	}
	for _, slice := range slices.Items {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready && (e.TargetRef == nil || e.TargetRef.Name != without) {
				return true, nil
			}
		}
	}
	return false, nil
}

// leave takes the registration away unless somebody else certainly serves: whoever does brings it back soon.
func (r *Registrar) leave(ctx context.Context) error {
	if served, err := r.served(ctx, r.Pod); err == nil && served {
		return nil
	}
	if err := r.Client.Delete(ctx, newAPIService()); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting the APIService: %w", err)
	}
	r.Log.InfoContext(ctx, "the API for people goes with the last state server")
	return nil
}
