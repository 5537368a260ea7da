package pod

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// kubeletExpands is what the kubelet makes of an argument: "$(NAME)" is the environment variable if there is one, "$$"
// is "$", and any other "$" is itself. See "command" and "args" of a Container in the API's reference.
func kubeletExpands(arg string, env map[string]string) string {
	var b strings.Builder
	for i := 0; i < len(arg); i++ {
		rest := arg[i:]
		end := strings.IndexByte(rest, ')')
		switch {
		case strings.HasPrefix(rest, "$$"):
			b.WriteByte('$')
			i++
		case strings.HasPrefix(rest, "$(") && end > 0:
			value, ok := env[rest[2:end]]
			if !ok {
				value = rest[:end+1]
			}
			b.WriteString(value)
			i += end
		default:
			b.WriteByte(arg[i])
		}
	}
	return b.String()
}

// TestBuild_ArgumentsPassTheKubelet: whatever stands in a target or in a backend's argument arrives as it is.
func TestBuild_ArgumentsPassTheKubelet(t *testing.T) {
	if got := kubeletExpands("$(HOME) $$(HOME) $(NO) $$ $x $", map[string]string{"HOME": "/tmp"}); got !=
		"/tmp $(HOME) $(NO) $ $x $" {
		t.Fatalf("the test's kubelet is wrong: %s", got)
	}
	values := []string{`a["$(HOME)"]`, `a["$$(HOME)"]`, `a["$$"]`, `a["$"]`, `a["${x}"]`, "$(", `\$(HOME)`, "$(A$(HOME))"}
	in := input()
	in.Run.Spec.Targets, in.Run.Spec.Replace = values, values
	in.Former = &v1alpha1.StatePlace{Type: "s3",
		Config: map[string]apiextensionsv1.JSON{"key": {Raw: []byte(`"$(HOME)/$$"`)}}}
	args := Build(in).Spec.Containers[0].Args
	got, err := job.ParseParams(kubeletExpands(args[1], map[string]string{"HOME": "/tmp", "A$(HOME": "x"}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{values, values}, [][]string{got.Targets, got.Replace}); diff != "" {
		t.Errorf("targets and replacements (-want +got):\n%s", diff)
	}
	var key string
	if err := json.Unmarshal(got.Place.From.Config["key"], &key); err != nil || key != "$(HOME)/$$" {
		t.Errorf("the backend's key is %s, %v", key, err)
	}
}
