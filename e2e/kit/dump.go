package kit

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

const (
	dumpTimeout = 20 * time.Second
	logTail     = 40
)

// dump tells what a failed test's namespace looks like, before it goes away.
func (s *Space) dump(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), dumpTimeout)
	defer cancel()
	var out strings.Builder
	for _, list := range []client.ObjectList{&v1alpha1.WorkspaceList{}, &v1alpha1.RunList{}} {
		if err := s.List(ctx, list, client.InNamespace(s.Name)); err != nil {
			fmt.Fprintf(&out, "%v\n", err)
		}
		writeYAML(&out, list)
	}
	var pods corev1.PodList
	if err := s.List(ctx, &pods, client.InNamespace(s.Name)); err != nil {
		fmt.Fprintf(&out, "%v\n", err)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		fmt.Fprintf(&out, "\n--- Pod %s %s\n", p.Name, p.Status.Phase)
		text, _ := yaml.Marshal(p.Status) // it came as JSON
		out.Write(text)
		s.writeLog(ctx, &out, p.Namespace, p.Name)
	}
	s.writeEvents(ctx, &out)
	s.writeController(ctx, &out)
	t.Logf("namespace %s as the test left it:\n%s", s.Name, out.String())
}

// writeYAML leaves out who wrote which field: it is longer than everything else.
func writeYAML(out io.Writer, list client.ObjectList) {
	_ = apimeta.EachListItem(list, func(o runtime.Object) error {
		if object, ok := o.(client.Object); ok {
			object.SetManagedFields(nil)
		}
		text, err := yaml.Marshal(o)
		fmt.Fprintf(out, "---\n%s", text)
		return err
	})
}

func (s *Space) writeLog(ctx context.Context, out io.Writer, namespace, pod string) {
	options := &corev1.PodLogOptions{TailLines: new(int64(logTail))}
	text, err := s.Set.CoreV1().Pods(namespace).GetLogs(pod, options).DoRaw(ctx)
	if err != nil {
		fmt.Fprintln(out, err)
	}
	_, _ = out.Write(text)
}

func (s *Space) writeEvents(ctx context.Context, out io.Writer) {
	events, err := s.Set.CoreV1().Events(s.Name).List(ctx, metav1.ListOptions{})
	if err != nil {
		fmt.Fprintln(out, err)
		return
	}
	fmt.Fprintln(out, "\n--- events")
	for _, e := range events.Items {
		fmt.Fprintf(out, "%s %s %s/%s %s: %s\n", e.LastTimestamp.Format(time.TimeOnly), e.Type, e.InvolvedObject.Kind,
			e.InvolvedObject.Name, e.Reason, e.Message)
	}
}

// writeController shows what Plumbline itself said about the namespace.
func (s *Space) writeController(ctx context.Context, out io.Writer) {
	pods, err := s.Set.CoreV1().Pods(System).List(ctx, metav1.ListOptions{})
	if err != nil {
		fmt.Fprintln(out, err)
		return
	}
	for _, p := range pods.Items {
		text, err := s.Set.CoreV1().Pods(System).GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
		if err != nil {
			fmt.Fprintln(out, err)
		}
		fmt.Fprintf(out, "\n--- %s: %d restarts\n%s", p.Name, restarts(&p), about(string(text), s.Name))
	}
}

// about is the last lines that mention a name.
func about(text, name string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, name) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-logTail):], "")
}

func restarts(p *corev1.Pod) (n int32) {
	for _, c := range p.Status.ContainerStatuses {
		n += c.RestartCount
	}
	return n
}
