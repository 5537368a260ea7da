package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/e2e/stage"
)

//go:embed workspace.yaml
var manifest string

const (
	manifestFile = "e2e/demo/workspace.yaml"
	priced       = "180 cents"
	edited       = "999 cents"
	// logLines is how much of a Run's log is shown.
	logLines = "22"
)

var objects = []string{"menu", "hours"}

func (d *demo) setStage(ctx context.Context) (string, error) {
	s, err := stage.Set(ctx, d.screen.log)
	if err != nil {
		return "", err
	}
	d.stage = s
	version, err := d.kubectl(ctx, "get", "nodes", "-o", "wide")
	if err != nil {
		return "", err
	}
	_, err = d.kubectl(ctx, "get", "pods", "-n", "plumbline-system")
	return strconv.Itoa(strings.Count(version, "\n")) + " node, Plumbline available", err
}

func (d *demo) giveRights(ctx context.Context) (string, error) {
	for _, args := range stage.Identity(namespace) {
		d.screen.command(args...)
	}
	return "ServiceAccount " + stage.Account + " may edit the namespace", d.stage.Namespace(ctx, namespace)
}

func (d *demo) apply(ctx context.Context) (string, error) {
	d.screen.file(manifestFile, asked())
	d.screen.command("apply", "-f", manifestFile)
	out, err := d.stage.Kubectl.Feed(ctx, asked(), "apply", "-f", "-")
	if err != nil {
		return "", err
	}
	d.screen.output(out)
	w, err := d.await(ctx, soon, "the Workspace is Ready", func(w *v1alpha1.Workspace) bool {
		return ready(w) && w.Status.LastRun != nil
	})
	if err != nil {
		return "", err
	}
	if _, err := d.kubectl(ctx, "logs", w.Status.LastRun.Name, "-n", namespace, "--tail", logLines); err != nil {
		return "", err
	}
	return result(w), d.list(ctx)
}

func (d *demo) showObjects(ctx context.Context) (string, error) {
	args := append([]string{"get", "configmaps", "-n", namespace}, objects...)
	if _, err := d.kubectl(ctx, args...); err != nil {
		return "", err
	}
	_, err := stage.Await(ctx, d.stage.Client, menu(soon, "ConfigMap menu is as the configuration says", priced))
	return "ConfigMap menu says espresso: " + priced, err
}

func (d *demo) showOutputs(ctx context.Context) (string, error) {
	secret := name + "-outputs"
	uid, err := d.kubectl(ctx, "get", "configmap", objects[0], "-n", namespace, "-o", "jsonpath={.metadata.uid}")
	if err != nil {
		return "", err
	}
	got, err := d.kubectl(ctx, "get", "secret", secret, "-n", namespace, "-o",
		`go-template={{range $k, $v := .data}}{{$k}}: {{base64decode $v}}{{"\n"}}{{end}}`)
	if err != nil {
		return "", err
	}
	if want := "menu_uid: " + uid + "\nobjects: [\"menu\",\"hours\"]"; got != want {
		return "", fmt.Errorf("the Secret says %q and not %q", got, want)
	}
	return "Secret " + secret + " has the ConfigMap's real UID", nil
}

func (d *demo) drift(ctx context.Context) (string, error) {
	patch := fmt.Sprintf(`{"data":{"espresso":%q}}`, edited)
	if _, err := d.kubectl(ctx, "patch", "configmap", objects[0], "-n", namespace, "-p", patch); err != nil {
		return "", err
	}
	began := time.Now()
	d.screen.say("waiting for the schedule (@every 20s) ...")
	if _, err := stage.Await(ctx, d.stage.Client, menu(onSchedule, "ConfigMap menu is put right", priced)); err != nil {
		return "", err
	}
	d.screen.say("the ConfigMap says %q again, %.1f s after the edit", priced, time.Since(began).Seconds())
	w, err := d.await(ctx, soon, "a scheduled Run says that it changed something", func(w *v1alpha1.Workspace) bool {
		last := w.Status.LastRun
		return ready(w) && last != nil && last.Trigger == v1alpha1.TriggerSchedule &&
			last.Changes != nil && last.Changes.Change == 1
	})
	if err != nil {
		return "", err
	}
	return result(w), d.list(ctx)
}

func (d *demo) rerun(ctx context.Context) (string, error) {
	value := strconv.FormatInt(time.Now().Unix(), 10)
	if _, err := d.kubectl(ctx, "annotate", "workspace", name, "-n", namespace, "plumbline.dev/rerun="+value); err != nil {
		return "", err
	}
	w, err := d.await(ctx, soon, "the rerun has ended", func(w *v1alpha1.Workspace) bool {
		last := w.Status.LastRun
		return ready(w) && last != nil && last.Trigger == v1alpha1.TriggerRerun && w.Status.LastRerun == value
	})
	if err != nil {
		return "", err
	}
	return result(w), d.list(ctx)
}

func (d *demo) remove(ctx context.Context) (string, error) {
	if _, err := d.kubectl(ctx, "delete", "workspace", name, "-n", namespace, "--wait=false"); err != nil {
		return "", err
	}
	_, err := stage.Await(ctx, d.stage.Client, stage.Wanted[*v1alpha1.Workspace]{
		Object: workspace(), List: &v1alpha1.WorkspaceList{}, Within: soon, What: "the Workspace is gone",
		Met: d.narrate(func(*v1alpha1.Workspace) bool { return false }, true),
	})
	if err != nil {
		return "", err
	}
	args := append([]string{"get", "configmaps", "-n", namespace, "--ignore-not-found"}, objects...)
	left, err := d.kubectl(ctx, args...)
	if err != nil {
		return "", err
	}
	if left != "" {
		return "", errors.New("the Workspace is gone and not what it made")
	}
	return "the Workspace and both ConfigMaps are gone", d.list(ctx)
}

// list shows what a person would look at.
func (d *demo) list(ctx context.Context) error {
	_, err := d.kubectl(ctx, "get", "workspaces,runs", "-n", namespace)
	return err
}

// kubectl runs and shows a command as a person would type it.
func (d *demo) kubectl(ctx context.Context, args ...string) (string, error) {
	d.screen.command(args...)
	out, err := d.stage.Kubectl.Run(ctx, args...)
	if err != nil {
		return "", err
	}
	d.screen.output(out)
	return out, nil
}

// await watches the Workspace, and shows what it says meanwhile.
func (d *demo) await(
	ctx context.Context, within time.Duration, what string, met func(*v1alpha1.Workspace) bool,
) (*v1alpha1.Workspace, error) {
	return stage.Await(ctx, d.stage.Client, stage.Wanted[*v1alpha1.Workspace]{
		Object: workspace(), List: &v1alpha1.WorkspaceList{}, Within: within, What: what, Met: d.narrate(met, false),
	})
}

// narrate shows each new word of the Workspace's condition Ready. absent is what is answered when there is none.
func (d *demo) narrate(met func(*v1alpha1.Workspace) bool, absent bool) func(*v1alpha1.Workspace, bool) bool {
	began, said := time.Now(), ""
	return func(w *v1alpha1.Workspace, exists bool) bool {
		if !exists {
			return absent
		}
		if c := apimeta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady); c != nil {
			if text := fmt.Sprintf("Ready=%s %s: %s", c.Status, c.Reason, c.Message); text != said {
				said = text
				d.screen.say("%5.1f s  %s", time.Since(began).Seconds(), text)
			}
		}
		return met(w)
	}
}

func workspace() *v1alpha1.Workspace {
	return &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func menu(within time.Duration, what, espresso string) stage.Wanted[*corev1.ConfigMap] {
	return stage.Wanted[*corev1.ConfigMap]{
		Object: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: objects[0]}},
		List:   &corev1.ConfigMapList{},
		Within: within,
		What:   what,
		Met:    func(c *corev1.ConfigMap, exists bool) bool { return exists && c.Data["espresso"] == espresso },
	}
}

func ready(w *v1alpha1.Workspace) bool {
	return w.Status.ObservedGeneration == w.Generation &&
		apimeta.IsStatusConditionTrue(w.Status.Conditions, v1alpha1.ConditionReady)
}

func result(w *v1alpha1.Workspace) string {
	last := w.Status.LastRun
	summary := ""
	if last.Changes != nil {
		summary = " " + last.Changes.Summary
	}
	return fmt.Sprintf("Run %s (%s): %s%s", last.Name, last.Trigger, last.Result, summary)
}
