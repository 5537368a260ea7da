// Package aggregation takes the registration of the API for people away while nobody can reach its servers.
//
//	state servers --register, again and again--> APIService <--looks whether it answers-- API server
//	                    condition Available is False for long --Keeper--> deleted
//
// While an APIService is registered and can't be reached, the API server can't tell what a namespace holds, and so no
// namespace of the whole cluster can be deleted. State servers that end well take theirs along; this is for those that
// died, and for a network that keeps the API server from them. Servers that come back register again.
package aggregation

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// APIService is the registration's name.
const APIService = "v1alpha1.state.plumbline.dev"

const (
	lookEvery   = 5 * time.Second
	lookTimeout = 10 * time.Second
	// patience is more than it takes a server to become ready, and to be found by the API server.
	patience = 15 * time.Second
)

var kind = schema.GroupVersionKind{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService"}

// Keeper looks at the registration while this controller leads.
type Keeper struct {
	Client client.Writer
	// Live must not read from a cache.
	Live  client.Reader
	Clock clock.PassiveClock
	Log   logr.Logger
}

// Start implements manager.Runnable.
func (k *Keeper) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if err := k.look(ctx); err != nil && ctx.Err() == nil {
			k.Log.Error(err, "looking after the API for people failed; it is tried again")
		}
	}, lookEvery)
	return nil
}

func (k *Keeper) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	found := &unstructured.Unstructured{}
	found.SetGroupVersionKind(kind)
	err := k.Live.Get(ctx, client.ObjectKey{Name: APIService}, found)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the APIService: %w", err)
	}
	why, gone := abandoned(found, k.Clock.Now())
	if !gone {
		return nil
	}
	// Only what was looked at: a server may have come back since.
	uid, version := found.GetUID(), found.GetResourceVersion()
	err = k.Client.Delete(ctx, found, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deleting the APIService: %w", err)
	}
	k.Log.Info("nobody serves the API for people: its registration is taken away until a state server is back",
		"apiService", APIService, "because", why)
	return nil
}

// abandoned tells whether the API server has found nobody to ask for too long, and what it says about that.
func abandoned(u *unstructured.Unstructured, now time.Time) (string, bool) {
	if u.GetLabels()["app.kubernetes.io/name"] != "plumbline" {
		return "", false
	}
	since, why := u.GetCreationTimestamp().Time, "the API server has not looked yet"
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, each := range conditions {
		c, ok := each.(map[string]any)
		if !ok || c["type"] != "Available" {
			continue
		}
		if c["status"] == string(metav1.ConditionTrue) {
			return "", false
		}
		why = fmt.Sprintf("%v: %v", c["reason"], c["message"])
		text, _ := c["lastTransitionTime"].(string)
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			since = at
		}
	}
	return why, now.Sub(since) >= patience
}
