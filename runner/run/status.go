package run

import (
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/limits"
)

// note sets the phase of a Run that goes on.
func note(r *v1alpha1.Run, reason, message string) {
	setCondition(r, metav1.ConditionUnknown, reason, message)
}

// finished writes how a Run ended. It is the one place where a Run becomes finished.
func finished(r *v1alpha1.Run, d Decision, now time.Time) {
	s := &r.Status
	at := metav1.NewTime(now)
	s.FinishedAt = &at
	if s.StartedAt != nil {
		s.Duration = now.Sub(s.StartedAt.Time).Round(time.Second).String()
	}
	s.Class = string(d.Class)
	s.Message = d.Message
	if d.Result != nil {
		fill(s, *d.Result, at)
	}
	status := metav1.ConditionFalse
	if d.Class.Succeeded() {
		status = metav1.ConditionTrue
	}
	setCondition(r, status, string(d.Class), describe(r))
}

func fill(s *v1alpha1.RunStatus, result job.Result, at metav1.Time) {
	s.OutputsDigest = result.OutputsDigest
	s.StateSerial = result.StateSerial
	if s.Backend != nil && result.StateLineage != "" {
		s.Backend.Lineage, s.Backend.Serial, s.Backend.StoreID = result.StateLineage, result.StateSerial, result.StoreID
	}
	if c := result.Changes; c != nil {
		s.Changes = changes(*c)
	}
	for _, step := range result.Steps {
		s.Steps = append(s.Steps, v1alpha1.RunStep{
			Name:     step.Name,
			Attempts: int32(step.Attempts), //nolint:gosec // a handful
			Duration: metav1.Duration{Duration: step.Duration.Round(time.Millisecond)},
			Class:    string(step.Class),
		})
	}
	if w := result.Warnings; w != nil {
		s.Warnings = &v1alpha1.Warnings{Total: count(w.Total), First: w.First}
	}
	if c := result.Checks; c != nil {
		s.Checks = &v1alpha1.Checks{Failed: count(c.Failed), Messages: c.Messages}
	}
	if result.DriftTotal == 0 {
		return
	}
	s.Drift = &v1alpha1.DriftStatus{DetectedAt: at, Total: count(result.DriftTotal)}
	for _, d := range result.Drift {
		s.Drift.Resources = append(s.Drift.Resources, v1alpha1.DriftedResource{
			Address: d.Address, Actions: append([]string{}, d.Actions...), // null would be refused
		})
	}
}

func changes(c job.Changes) *v1alpha1.Changes {
	summary := fmt.Sprintf("+%d ~%d -%d", c.Add, c.Change, c.Destroy)
	if c.Import > 0 {
		summary += fmt.Sprintf(" <%d", c.Import)
	}
	if c.Forget > 0 {
		summary += fmt.Sprintf(" .%d", c.Forget)
	}
	return &v1alpha1.Changes{
		Add: count(c.Add), Change: count(c.Change), Destroy: count(c.Destroy), Import: count(c.Import),
		Forget: count(c.Forget), Summary: summary,
	}
}

func count(n int) int32 {
	return int32(max(0, min(n, 1<<31-1)))
}

// describe is the condition's message: what changed when it went well, what went wrong otherwise.
func describe(r *v1alpha1.Run) string {
	if r.Status.Message != "" || r.Status.Changes == nil {
		return r.Status.Message
	}
	return "changes: " + r.Status.Changes.Summary
}

func setCondition(r *v1alpha1.Run, status metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(&r.Status.Conditions, metav1.Condition{
		Type:               v1alpha1.ConditionSucceeded,
		Status:             status,
		Reason:             reason,
		Message:            limits.Message(message),
		ObservedGeneration: r.Generation,
	})
}
