package kit

import (
	"strconv"
	"strings"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// CountWrites has the API server count what Plumbline's controller writes into the Space's namespace, and returns how
// to read the count. The API server's request metrics know no users, but those of its flow control know the FlowSchema,
// and one can be made that matches one user's writes into one namespace.
func (s *Space) CountWrites(t testing.TB) func() int {
	t.Helper()
	account := s.Component(t, Controller)[0].Spec.ServiceAccountName
	schema := &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: s.Name},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "workload-low"},
			MatchingPrecedence:         100,
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{
					Kind:           flowcontrolv1.SubjectKindServiceAccount,
					ServiceAccount: &flowcontrolv1.ServiceAccountSubject{Namespace: System, Name: account},
				}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs:     []string{"create", "update", "patch", "delete", "deletecollection"},
					APIGroups: []string{"*"}, Resources: []string{"*"}, Namespaces: []string{s.Name},
				}},
			}},
		},
	}
	if err := s.WithWatch.Create(t.Context(), schema); err != nil {
		t.Fatalf("making a FlowSchema: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Delete(After(t), schema); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	})
	return func() int { return s.settled(t, schema.Name) }
}

// still is how long no write may come for all to be over: pruning follows a Run's end.
const still = 2 * time.Second

func (s *Space) settled(t testing.TB, schema string) int {
	t.Helper()
	last, since := -1, time.Now()
	for time.Since(since) < still {
		if n := s.dispatched(t, schema); n != last {
			last, since = n, time.Now()
		}
		select {
		case <-t.Context().Done():
		case <-time.After(still / 8):
		}
	}
	return last
}

func (s *Space) dispatched(t testing.TB, schema string) int {
	t.Helper()
	text, err := s.Set.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatalf("reading the API server's metrics: %v", err)
	}
	sum := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "apiserver_flowcontrol_dispatched_requests_total{") ||
			!strings.Contains(line, `flow_schema="`+schema+`"`) {
			continue
		}
		fields := strings.Fields(line)
		n, err := strconv.Atoi(fields[len(fields)-1])
		if err != nil {
			t.Fatalf("reading %q: %v", line, err)
		}
		sum += n
	}
	return sum
}
