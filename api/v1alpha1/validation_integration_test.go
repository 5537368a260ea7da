//go:build integration

package v1alpha1_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/robfig/cron/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

var apiServer client.Client

func TestMain(m *testing.M) {
	env := &envtest.Environment{CRDDirectoryPaths: []string{"../../deploy/crds"}, ErrorIfCRDPathMissing: true}
	cfg, err := env.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting an API server (is KUBEBUILDER_ASSETS set? make integration does it):", err)
		os.Exit(1)
	}
	code := 1
	if apiServer, err = client.New(cfg, client.Options{}); err == nil {
		apiServer = client.WithFieldValidation(apiServer, metav1.FieldValidationStrict) // as kubectl does
		code = m.Run()
	}
	if err := env.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the API server:", err)
	}
	os.Exit(code)
}

func object(t *testing.T, kind, name, spec string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	text := fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %s, namespace: default}\nspec:\n  %s\n",
		v1alpha1.GroupVersion, kind, name, strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  "))
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if kind == "RunnerClass" {
		o.SetNamespace("")
	}
	return o
}

// row is a spec, and a part of the message that it is refused with; empty when it is accepted.
type row struct{ name, spec, want string }

func check(t *testing.T, kind string, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			err := apiServer.Create(t.Context(), object(t, kind, "x", r.spec), client.DryRunAll)
			compare(t, err, r.want)
		})
	}
}

func compare(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("it is refused: %v", err)
	case want != "" && err == nil:
		t.Error("it is accepted")
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("it is refused without saying %q: %v", want, err)
	}
}

const source = "source: {inline: {files: {main.tf: ''}}}\n"

func TestSourceIsValidated(t *testing.T) {
	const paths = "file names are relative paths"
	check(t, "Workspace", []row{
		{"inline", source, ""},
		{"a module of the image", "source: {image: {path: /modules/vpn}}", ""},
		{"both", "source: {inline: {files: {a.tf: ''}}, image: {path: /m}}", "set exactly one of inline, image"},
		{"neither", "source: {}", "set exactly one of inline, image"},
		{"no source at all", "{}", "spec.source"},
		{"no files", "source: {inline: {files: {}}}", "at least 1"},
		{"folders", "source: {inline: {files: {modules/a/main.tf: '', 'x.tfvars': '', '.hidden': '', '..a': ''}}}", ""},
		{"an absolute path", "source: {inline: {files: {/etc/passwd: ''}}}", paths},
		{"a path upwards", "source: {inline: {files: {../main.tf: ''}}}", paths},
		{"a path upwards in the middle", "source: {inline: {files: {a/../../main.tf: ''}}}", paths},
		{"a path with a space", "source: {inline: {files: {'a b.tf': ''}}}", paths},
		{"a path that ends as a folder", "source: {inline: {files: {a/: ''}}}", paths},
		{"a long path", "source: {inline: {files: {" + strings.Repeat("a", 201) + ": ''}}}", "at most 200 characters"},
		{"our variables", "source: {inline: {files: {terraform.tfvars.json: ''}}}", "put values into spec.variables"},
		{"our backend", "source: {inline: {files: {plumbline_override.tf.json: ''}}}", "written by Plumbline"},
		{"executable files", "source: {inline: {files: {a.sh: '', b/c.sh: ''}, executable: [a.sh, b/c.sh]}}", ""},
		{"an executable file that isn't there", "source: {inline: {files: {a.sh: ''}, executable: [b.sh]}}",
			"executable names paths that are in files"},
		{"a relative module", "source: {image: {path: modules/vpn}}", "spec.source.image.path"},
		{"a module upwards", "source: {image: {path: /modules/../etc}}", "'.' and '..'"},
	})
}

// TestNullIsAValue: it passes the API server, and a controller can write the Workspace back.
func TestNullIsAValue(t *testing.T) {
	o := object(t, "Workspace", "with-null", source+"variables: [{name: a, value: null}, {name: b, value: {c: null}}]")
	if err := apiServer.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = apiServer.Delete(context.Background(), o) })
	if err := v1alpha1.AddToScheme(apiServer.Scheme()); err != nil {
		t.Fatal(err)
	}
	var w v1alpha1.Workspace
	if err := apiServer.Get(t.Context(), client.ObjectKeyFromObject(o), &w); err != nil {
		t.Fatal(err)
	}
	if v := w.Spec.Variables[0]; v.Value != nil || v.ValueFrom != nil {
		t.Errorf("a null is %+v", v)
	}
	if v := w.Spec.Variables[1].Value; v == nil || string(v.Raw) != `{"c":null}` {
		t.Errorf("a null in an object is %v", v)
	}
	w.Labels = map[string]string{"changed": "true"}
	if err := apiServer.Update(t.Context(), &w); err != nil {
		t.Errorf("it can't be written back: %v", err)
	}
}

func TestVariablesAreValidated(t *testing.T) {
	const one = "set exactly one of secretKeyRef, configMapKeyRef"
	check(t, "Workspace", []row{
		{"any JSON",
			source + `variables: [{name: a, value: x}, {name: b, value: {c: [1, "${x}"]}}, {name: d, value: false}]`, ""},
		{"from a Secret", source + "variables: [{name: a, valueFrom: {secretKeyRef: {name: s, key: k}}}]", ""},
		{"from a ConfigMap", source + "variables: [{name: a, valueFrom: {configMapKeyRef: {name: s, key: k}}}]", ""},
		{"nothing, as kubectl apply sends a null", source + "variables: [{name: a}]", ""},
		{"null", source + "variables: [{name: a, value: null}, {name: b, value: {c: null}}]", ""},
		{"null and valueFrom",
			source + "variables: [{name: a, value: null, valueFrom: {secretKeyRef: {name: s, key: k}}}]", "at most 2"},
		{"value and valueFrom",
			source + "variables: [{name: a, value: 1, valueFrom: {secretKeyRef: {name: s, key: k}}}]", "at most 2"},
		{"from nowhere", source + "variables: [{name: a, valueFrom: {}}]", one},
		{"from two places",
			source + "variables: [{name: a, valueFrom: {secretKeyRef: {name: s, key: k}, configMapKeyRef: {name: s, key: k}}}]",
			one},
		{"a name that no variable has", source + "variables: [{name: 1a, value: 1}]", "spec.variables[0].name"},
		{"one name twice", source + "variables: [{name: a, value: 1}, {name: a, value: 2}]", "Duplicate value"},
		{"a credential", source + "credentials: [{name: cloud, secretRef: {name: s}}]", ""},
		{"a credential of 63 characters",
			source + "credentials: [{name: " + strings.Repeat("c", 63) + ", secretRef: {name: s}}]", ""},
		{"a credential's name that is no folder", source + "credentials: [{name: ../x, secretRef: {name: s}}]",
			"spec.credentials[0].name"},
		{"a credential of nothing", source + "credentials: [{name: cloud}]",
			"set exactly one of vault, secretRef, serviceAccountToken"},
		{"a field that this release doesn't act on", source + "approval: {mode: Manual}", "unknown field"},
	})
}

func TestDurationsAreValidated(t *testing.T) {
	rows := []row{
		{"good ones",
			source + "retry: {limit: 0, minDelay: 1s, maxDelay: 1h30m}\n" +
				"timeouts: {init: 90s, plan: 0.5h, apply: 500ms, grace: 720h}",
			""},
		{"no jitter", source + "drift: {schedule: '@daily', jitter: 0s}", ""},
		{"a jitter that is none", source + "drift: {schedule: '@daily', jitter: soon}", "jitter is a duration such as 90s"},
		{"a negative jitter", source + "drift: {schedule: '@daily', jitter: -1s}", "jitter is a duration such as 90s"},
		{"a negative limit", source + "retry: {limit: -1}", "spec.retry.limit"},
		{"no history", source + "history: {succeeded: 0}", "spec.history.succeeded"},
	}
	for field, name := range map[string]string{
		"timeouts: {init: %s}": "init", "timeouts: {plan: %s}": "plan", "timeouts: {apply: %s}": "apply",
		"timeouts: {credentials: %s}": "credentials", "timeouts: {stall: %s}": "stall",
		"timeouts: {grace: %s}": "grace", "retry: {minDelay: %s}": "minDelay", "retry: {maxDelay: %s}": "maxDelay",
	} {
		for _, bad := range []string{"0s", "-5s", "1d", "banana", "'5'", "721h", "''", "1h 30m"} {
			rows = append(rows,
				row{name + " of " + bad, source + fmt.Sprintf(field, bad), name + " is a duration such as 90s or 1h30m"})
		}
	}
	check(t, "Workspace", rows)
	check(t, "RunnerClass", []row{
		{"a class", "image: x\ntimeouts: {apply: 20m}\nretry: {limit: 3}", ""},
		{"a class's duration that is none", "image: x\ntimeouts: {apply: long}", "apply is a duration such as"},
		{"a class without an image", "imagePullPolicy: Always", "spec.image"},
		{"a mirror that isn't https", "image: x\npluginMirror: {url: 'http://mirror/'}", "spec.pluginMirror.url"},
	})
}

func TestTrustIsValidated(t *testing.T) {
	const oneOf = "set exactly one of configMapName, secretName"
	for kind, rest := range map[string]string{"Workspace": source, "RunnerClass": "image: x\n"} {
		check(t, kind, []row{
			{"both kinds", rest + "trust: [{configMapName: a, key: k}, {secretName: a, key: k}]", ""},
			{"none named", rest + "trust: [{key: k}]", oneOf},
			{"both named", rest + "trust: [{configMapName: a, secretName: b, key: k}]", oneOf},
			{"no key", rest + "trust: [{configMapName: a}]", "key"},
		})
	}
}

func TestScheduleIsValidated(t *testing.T) {
	drift := func(s string) string { return source + fmt.Sprintf("drift: {schedule: %q}", s) }
	zone := func(s, z string) string { return source + fmt.Sprintf("drift: {schedule: %q, timeZone: %q}", s, z) }
	const shape, every = "schedule has five fields", "a duration of at least 1s"
	check(t, "Workspace", []row{
		{"a word", drift("foo"), shape},
		{"nothing", drift(""), "spec.drift.schedule"},
		{"four fields", drift("* * * *"), shape},
		{"six fields", drift("0 * * * * *"), shape},
		{"no such word", drift("@never"), shape},
		{"minute 61", drift("61 * * * *"), "the first field, minute, is 0 to 59"},
		{"minute 60", drift("60 * * * *"), "minute"},
		{"hour 24", drift("0 24 * * *"), "the second field, hour, is 0 to 23"},
		{"day 0", drift("0 0 0 * *"), "the third field, day of month, is 1 to 31"},
		{"day 32", drift("0 0 32 * *"), "day of month"},
		{"month 13", drift("0 0 1 13 *"), "the fourth field, month, is 1 to 12 or JAN to DEC"},
		{"weekday 7", drift("0 0 * * 7"), "the fifth field, day of week, is 0 to 6 (Sunday is 0) or SUN to SAT"},
		{"a weekday that is none", drift("0 0 * * XYZ"), "day of week"},
		{"a range backwards", drift("0 0 * * FRI-MON"), "a range begins with its smaller end"},
		{"a range of a name and a number", drift("0 0 * * MON-5"), "day of week"},
		{"a step of 0", drift("*/0 * * * *"), "minute"},
		{"an empty list", drift(", * * * *"), "minute"},
		{"@every what is none", drift("@every banana"), every},
		{"@every nothing", drift("@every "), every},
		{"@every less than a second", drift("@every 999ms"), every},
		{"@every backwards", drift("@every -5m"), every},
		{"@every with a year's end", drift("@every 30m extra"), every},
		{"another time zone by the back door", drift("TZ=UTC * * * * *"), shape},
		{"a time zone", zone("0 9 * * *", "Europe/Madrid"), ""},
		{"an offset", zone("0 9 * * *", "Etc/GMT+3"), ""},
		{"a time zone that is none", zone("0 9 * * *", "../etc/passwd"), "timeZone is an IANA name such as Europe/Madrid"},
		{"the server's own", zone("0 9 * * *", "Local"), "timeZone is an IANA name"},
		{"a time zone where it says nothing", zone("@every 30m", "Europe/Madrid"), "timeZone has no meaning"},
		{"an action that is none", source + "drift: {schedule: '@daily', action: Panic}", "spec.drift.action"},
	})
}

// TestScheduleIsWhatCronReads compares the definition's rules with the parser that reads the schedule later.
func TestScheduleIsWhatCronReads(t *testing.T) {
	schedules := []string{
		"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually", "@every 30m",
		"@every 1h30m", "@every 1.5h", "@every 1s", "@Daily", "@reboot", "* * * * *", "0 */6 * * *",
		"  0   9  * * *  ", "? ? ? ? ?", "00 09 01 01 00", "*/5,30 * * * *", "0-30/10 * * * *", "5/15 * * * *",
		"0 0 1,15 * *", "0 0 1-7 * mon", "0 0 * JAN,jul SUN", "0 0 * jan-Mar *", "0 0 * * 1-5", "0 0 * * mon-fri",
		"0 0 * * 6-0", "0 0 * DEC-JAN *", "59 23 31 12 6", "60 * * * *", "* 24 * * *", "* * 32 * *", "* * 0 * *",
		"* * * 0 *", "* * * 13 *", "* * * * 7", "* * * * SUNDAY", "* * * FEBRUARY *", "1-2-3 * * * *",
		"*/5/5 * * * *", "30-10 * * * *", "*/0 * * * *", "*/-1 * * * *", "-1 * * * *", "1.5 * * * *", "a * * * *",
		"MON * * * *", "* * * MON *", "* * * * JAN", "0 0 L * *", "0 0 15W * *", "0 0 * * 5#2", "0 9-17/2,20 * * *",
		"1,2,3,4,5,6,7 * * * *", "10-5/2 * * * *",
	}
	for _, s := range schedules {
		t.Run(s, func(t *testing.T) {
			_, wrong := cron.ParseStandard(strings.TrimSpace(s))
			o := object(t, "Workspace", "x", source+fmt.Sprintf("drift: {schedule: %q}", s))
			err := apiServer.Create(t.Context(), o, client.DryRunAll)
			if (wrong == nil) != (err == nil) {
				t.Errorf("cron says %v, the API server says %v", wrong, err)
			}
		})
	}
}

func TestRunIsImmutableButForCancel(t *testing.T) {
	const immutable, back = "spec is immutable except for cancel", "cancel can't be taken back"
	set := func(value any, path ...string) func(*unstructured.Unstructured) {
		return func(o *unstructured.Unstructured) {
			if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
				t.Fatal(err)
			}
		}
	}
	const full = "workspaceName: vpn\noperation: Plan\ntargets: [a.b]\nreplace: [c.d]\n" +
		"inputsDigest: x\ntrigger: {kind: Change, key: k}"
	for _, test := range []struct {
		name, spec string
		change     func(*unstructured.Unstructured)
		want       string
	}{
		{"cancel", full, set(true, "spec", "cancel"), ""},
		{"labels", full, set("y", "metadata", "labels", "x"), ""},
		{"cancel taken back", full + "\ncancel: true", set(false, "spec", "cancel"), back},
		{"cancel removed", full + "\ncancel: true", func(o *unstructured.Unstructured) {
			unstructured.RemoveNestedField(o.Object, "spec", "cancel")
		}, back},
		{"another Workspace", full, set("other", "spec", "workspaceName"), immutable},
		{"another operation", full, set("Apply", "spec", "operation"), immutable},
		{"another trigger", full, set("l", "spec", "trigger", "key"), immutable},
		{"another lock", full, set("7", "spec", "forceUnlock"), immutable},
		{"another attempt", full, set(int64(2), "spec", "attempt"), immutable},
		{"other targets", full, set([]any{"a.b", "c"}, "spec", "targets"), immutable},
		{"no targets any more", full, func(o *unstructured.Unstructured) {
			unstructured.RemoveNestedField(o.Object, "spec", "targets")
		}, immutable},
		{"targets where none were", "workspaceName: vpn", set([]any{"a"}, "spec", "targets"), immutable},
		{"replacements where none were", "workspaceName: vpn", set([]any{"a"}, "spec", "replace"), immutable},
		{"a digest where none was", "workspaceName: vpn", set("y", "spec", "inputsDigest"), immutable},
		{"another digest", full, set("y", "spec", "inputsDigest"), immutable},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := object(t, "Run", "immutable", test.spec)
			if err := apiServer.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := apiServer.Delete(context.Background(), o); err != nil {
					t.Error(err)
				}
			})
			test.change(o)
			compare(t, apiServer.Update(t.Context(), o), test.want)
		})
	}
}

func TestRunIsValidated(t *testing.T) {
	check(t, "Run", []row{
		{"what a person writes", "workspaceName: vpn", ""},
		{"a plan of parts", "workspaceName: vpn\noperation: Plan\ntargets: ['module.a[\"x\"].b']", ""},
		{"no Workspace", "operation: Plan", "spec.workspaceName"},
		{"no such operation", "workspaceName: vpn\noperation: Explode", "spec.operation"},
		{"no such trigger", "workspaceName: vpn\ntrigger: {kind: Whim}", "spec.trigger.kind"},
		{"attempt 0", "workspaceName: vpn\nattempt: 0", "spec.attempt"},
	})
	o := object(t, "Run", "defaults", "workspaceName: vpn")
	if err := apiServer.Create(t.Context(), o, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(o.Object["spec"])
	if want := "map[attempt:1 operation:Apply trigger:map[kind:Manual] workspaceName:vpn]"; got != want {
		t.Errorf("with its defaults it is %s, want %s", got, want)
	}
}

func TestNamesOf63CharactersAreAccepted(t *testing.T) {
	name := strings.Repeat("n", 63)
	for kind, spec := range map[string]string{"Workspace": source, "Run": "workspaceName: " + name,
		"RunnerClass": "image: x"} {
		if err := apiServer.Create(t.Context(), object(t, kind, name, spec), client.DryRunAll); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
