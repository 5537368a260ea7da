// Package definitions looks whether the CustomResourceDefinitions of the cluster have the fields that this release
// writes.
//
//	Go types --fields--> missing names <--properties-- CustomResourceDefinitions --Check--> no start
//	                                                                             \--Keeper--> log, metric
//
// Helm installs the definitions with the first release and never upgrades them. A field that an old definition lacks is
// dropped by the API server without a word, and whoever waits for it decides the same again and again.
package definitions

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

const (
	lookEvery   = 10 * time.Minute
	lookTimeout = 30 * time.Second
	// most is how many fields are named.
	most = 5
)

var definition = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// kinds are the definitions, by their names, and the types that stand for them.
var kinds = []struct {
	name string
	kind reflect.Type
}{
	{"workspaces.plumbline.dev", reflect.TypeFor[v1alpha1.Workspace]()},
	{"runs.plumbline.dev", reflect.TypeFor[v1alpha1.Run]()},
	{"runnerclasses.plumbline.dev", reflect.TypeFor[v1alpha1.RunnerClass]()},
}

var missingFields = prometheus.NewGauge(prometheus.GaugeOpts{
	Name: "plumbline_crd_fields_missing",
	Help: "Fields of this release that the cluster's CustomResourceDefinitions lack: apply deploy/crds.",
})

func init() { metrics.Registry.MustRegister(missingFields) }

// LackingError says which fields the definitions lack.
type LackingError struct{ Fields []string }

func (e *LackingError) Error() string {
	named := strings.Join(e.Fields[:min(most, len(e.Fields))], ", ")
	if more := len(e.Fields) - most; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("the cluster's CustomResourceDefinitions are of another release and lack %s: "+
		"kubectl apply --server-side --force-conflicts -f deploy/crds (Helm doesn't upgrade definitions)", named)
}

// Check returns a *LackingError when a definition lacks a field, and another error when one can't be read.
func Check(ctx context.Context, live client.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var lacking []string
	for _, k := range kinds {
		found := &unstructured.Unstructured{}
		found.SetGroupVersionKind(definition)
		err := live.Get(ctx, client.ObjectKey{Name: k.name}, found)
		switch {
		case apierrors.IsNotFound(err):
			lacking = append(lacking, k.name)
		case err != nil:
			return fmt.Errorf("reading CustomResourceDefinition %q: %w", k.name, err)
		default:
			lacking = append(lacking, lacks(root(found), k.kind, strings.TrimSuffix(k.name, ".plumbline.dev"))...)
		}
	}
	missingFields.Set(float64(len(lacking)))
	if len(lacking) > 0 {
		return &LackingError{lacking}
	}
	return nil
}

// root is the schema of the version that this release writes; nil for none.
func root(definition *unstructured.Unstructured) map[string]any {
	versions, _, err := unstructured.NestedSlice(definition.Object, "spec", "versions")
	if err != nil {
		return nil
	}
	for _, v := range versions {
		version, ok := v.(map[string]any)
		if !ok || version["name"] != v1alpha1.GroupVersion.Version {
			continue
		}
		found, _, err := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
		if err == nil {
			return found
		}
	}
	return nil
}

// lacks are the fields of a type that a schema has no property for. Types of other modules are the API server's own.
func lacks(schema map[string]any, t reflect.Type, path string) []string {
	if keeps, ok := schema["x-kubernetes-preserve-unknown-fields"].(bool); ok && keeps {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return lacks(schema, t.Elem(), path)
	case reflect.Slice:
		return lacks(below(schema, "items"), t.Elem(), path)
	case reflect.Map:
		return lacks(below(schema, "additionalProperties"), t.Elem(), path)
	case reflect.Struct:
		if t.PkgPath() == reflect.TypeFor[v1alpha1.Run]().PkgPath() {
			return fieldsLacked(schema, t, path)
		}
	}
	return nil
}

func fieldsLacked(schema map[string]any, t reflect.Type, path string) []string {
	var lacked []string
	properties := below(schema, "properties")
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue // inlined: kind and version
		}
		if _, is := properties[name]; !is {
			lacked = append(lacked, path+"."+name)
			continue
		}
		lacked = append(lacked, lacks(below(properties, name), f.Type, path+"."+name)...)
	}
	return lacked
}

func below(schema map[string]any, key string) map[string]any {
	found, _ := schema[key].(map[string]any) // what is no object has no properties
	return found
}

// Keeper looks again and again: definitions may be put back while the controller runs.
type Keeper struct {
	// Live must not read from a cache.
	Live client.Reader
	Log  logr.Logger
}

// Start implements manager.Runnable.
func (k *Keeper) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if err := Check(ctx, k.Live); err != nil && ctx.Err() == nil {
			k.Log.Error(err, "looking at the CustomResourceDefinitions")
		}
	}, lookEvery)
	return nil
}
