// Package inputs reads what a Workspace's spec refers to (Secrets, ConfigMaps, its RunnerClass) and hands it on as
// plain values. Secrets are read from the API server itself and not cached: the controller keeps no copy of any.
package inputs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/runner/render"
)

// MissingError says that something the Workspace names does not exist, or lacks the key. It heals by itself when the
// thing appears, for the controller watches it.
type MissingError struct {
	// Reason is the condition's reason.
	Reason string
	What   string
}

func (e *MissingError) Error() string { return e.What }

func missing(format string, args ...any) error {
	return &MissingError{Reason: v1alpha1.ReasonInputsMissing, What: fmt.Sprintf(format, args...)}
}

// Bundle resolves and renders a Workspace's inputs. It returns a *MissingError when something named doesn't exist, an
// *InvalidError when something of the spec is wrong; any other error is a failed read.
func Bundle(ctx context.Context, live client.Reader, w *v1alpha1.Workspace) (render.Bundle, error) {
	r := resolver{live: live, workspace: w}
	variables, err := r.variables(ctx)
	if err != nil {
		return render.Bundle{}, err
	}
	in := render.Inputs{Source: w.Spec.Source, Variables: variables}
	if err := r.credentials(ctx, &in); err != nil {
		return render.Bundle{}, err
	}
	if in.Backend, err = r.backend(ctx); err != nil {
		return render.Bundle{}, err
	}
	bundle, err := render.Files(in)
	if err != nil { // rendering reads nothing: what it can't do is the spec's fault
		return render.Bundle{}, invalid("%v", err)
	}
	return bundle, nil
}

// Mounted returns a *MissingError when a Secret is missing that a Pod of the Workspace mounts, whatever its files are:
// the Pod would wait for it.
func Mounted(ctx context.Context, live client.Reader, w *v1alpha1.Workspace) error {
	r := resolver{live: live, workspace: w}
	for _, c := range w.Spec.Credentials {
		if c.SecretRef == nil {
			continue
		}
		if _, err := r.secret(ctx, c.SecretRef.Name, fmt.Sprintf("credential %q", c.Name)); err != nil {
			return err
		}
	}
	_, err := r.backend(ctx)
	return err
}

type resolver struct {
	live      client.Reader
	workspace *v1alpha1.Workspace
}

func (r resolver) variables(ctx context.Context) (map[string]json.RawMessage, error) {
	values := make(map[string]json.RawMessage, len(r.workspace.Spec.Variables))
	for _, v := range r.workspace.Spec.Variables {
		switch {
		case v.Value != nil:
			values[v.Name] = v.Value.Raw
			continue
		case v.ValueFrom == nil:
			// "value: null" comes as none at all: kubectl apply doesn't send it, and decoding doesn't keep it.
			values[v.Name] = json.RawMessage("null")
			continue
		}
		text, err := r.lookUp(ctx, v)
		if err != nil {
			return nil, err
		}
		if !utf8.ValidString(text) {
			// JSON would replace what isn't text, and Terraform would get something else than what was given.
			return nil, missing("the value of variable %q is not UTF-8 text: encode it, with base64 for example", v.Name)
		}
		if values[v.Name], err = json.Marshal(text); err != nil {
			return nil, fmt.Errorf("encoding variable %q: %w", v.Name, err)
		}
	}
	return values, nil
}

func (r resolver) lookUp(ctx context.Context, v v1alpha1.Variable) (string, error) {
	if v.ValueFrom.SecretKeyRef == nil && v.ValueFrom.ConfigMapKeyRef == nil {
		return "", missing("valueFrom of variable %q names nothing", v.Name)
	}
	if ref := v.ValueFrom.SecretKeyRef; ref != nil {
		data, err := r.secret(ctx, ref.Name, fmt.Sprintf("variable %q", v.Name))
		if err != nil {
			return "", err
		}
		value, ok := data[ref.Key]
		if !ok {
			return "", missing("Secret %q has no key %q (variable %q)", ref.Name, ref.Key, v.Name)
		}
		return string(value), nil
	}
	return r.configMapKey(ctx, v.ValueFrom.ConfigMapKeyRef, fmt.Sprintf("variable %q", v.Name))
}

func (r resolver) configMapKey(ctx context.Context, ref *v1alpha1.KeyRef, wantedBy string) (string, error) {
	var cm corev1.ConfigMap
	err := r.live.Get(ctx, types.NamespacedName{Namespace: r.workspace.Namespace, Name: ref.Name}, &cm)
	if apierrors.IsNotFound(err) {
		return "", missing("ConfigMap %q does not exist (%s)", ref.Name, wantedBy)
	}
	if err != nil {
		return "", fmt.Errorf("reading ConfigMap %q: %w", ref.Name, err)
	}
	if value, ok := cm.Data[ref.Key]; ok {
		return value, nil
	}
	if value, ok := cm.BinaryData[ref.Key]; ok {
		return string(value), nil
	}
	return "", missing("ConfigMap %q has no key %q (%s)", ref.Name, ref.Key, wantedBy)
}

func (r resolver) secret(ctx context.Context, name, wantedBy string) (map[string][]byte, error) {
	var s corev1.Secret
	err := r.live.Get(ctx, types.NamespacedName{Namespace: r.workspace.Namespace, Name: name}, &s)
	if apierrors.IsNotFound(err) {
		return nil, missing("Secret %q does not exist (%s)", name, wantedBy)
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %q: %w", name, err)
	}
	return s.Data, nil
}

func digest(data map[string][]byte) string {
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(data)) {
		_, _ = fmt.Fprintf(h, "%d %s %d ", len(key), key, len(data[key])) // a hash never fails to write
		h.Write(data[key])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Class finds a Workspace's RunnerClass: the one it names, or the one that is marked as the default; of several the
// newest, as with StorageClasses, so that the default can be changed without a moment that has none. It returns a
// *MissingError when there is none.
func Class(ctx context.Context, c client.Reader, w *v1alpha1.Workspace) (*v1alpha1.RunnerClass, error) {
	if name := w.Spec.RunnerClassName; name != "" {
		var class v1alpha1.RunnerClass
		err := c.Get(ctx, types.NamespacedName{Name: name}, &class)
		if apierrors.IsNotFound(err) {
			return nil, noClass("RunnerClass %q does not exist (spec.runnerClassName)", name)
		}
		if err != nil {
			return nil, fmt.Errorf("reading RunnerClass %q: %w", name, err)
		}
		return &class, nil
	}
	var list v1alpha1.RunnerClassList
	if err := c.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing RunnerClasses: %w", err)
	}
	marked := slices.DeleteFunc(list.Items, func(c v1alpha1.RunnerClass) bool {
		return c.Annotations[v1alpha1.AnnotationDefaultClass] != "true"
	})
	if len(marked) == 0 {
		return nil, noClass("no RunnerClass is annotated %s=true, and spec.runnerClassName names none",
			v1alpha1.AnnotationDefaultClass)
	}
	newest := slices.MinFunc(marked, func(a, b v1alpha1.RunnerClass) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return &newest, nil
}

func noClass(format string, args ...any) error {
	return &MissingError{Reason: v1alpha1.ReasonRunnerClassMissing, What: fmt.Sprintf(format, args...)}
}

// References are the objects whose content a Workspace's inputs depend on, as kind/name, for an index.
func References(w *v1alpha1.Workspace) []string {
	var refs []string
	for _, v := range w.Spec.Variables {
		switch {
		case v.ValueFrom == nil:
		case v.ValueFrom.SecretKeyRef != nil:
			refs = append(refs, SecretReference(v.ValueFrom.SecretKeyRef.Name))
		case v.ValueFrom.ConfigMapKeyRef != nil:
			refs = append(refs, ConfigMapReference(v.ValueFrom.ConfigMapKeyRef.Name))
		}
	}
	for _, c := range w.Spec.Credentials {
		if c.SecretRef != nil {
			refs = append(refs, SecretReference(c.SecretRef.Name))
		}
	}
	refs = append(refs, TrustReferences(w.Spec.Trust)...)
	refs = append(refs, backendReferences(w)...)
	slices.Sort(refs)
	return slices.Compact(refs)
}

// SecretReference is how References names a Secret.
func SecretReference(name string) string { return "Secret/" + name }

// ConfigMapReference is how References names a ConfigMap.
func ConfigMapReference(name string) string { return "ConfigMap/" + name }
