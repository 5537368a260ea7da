package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/e2e/install"
)

const (
	// aside takes what is no write of the Run: leader election's leases, and the reviews of tokens, which store nothing.
	aside = "plumbline-bench-aside"
	// history is how many Runs are kept: only beyond that a check also prunes, as it does for good from then on.
	history = 3
	// still is how long no write may come for a check to be over: pruning follows Ready.
	still       = 2 * time.Second
	writesLimit = 5 * time.Minute
)

// components are those whose writes are told apart.
var components = []string{"controller", "state"}

// whereWritten tells which namespace's writes count. The controller writes where the Workspace is, so that other
// Workspaces don't disturb; the state service in its own namespace, for all of them alike.
var whereWritten = map[string]string{"controller": namespace, "state": "*"}

// writes counts the API writes of no-change checks from the API server's own metrics. Its request counts know no users,
// but those of its priority and fairness know the FlowSchema, and a FlowSchema can be made that matches what one
// ServiceAccount writes and nothing else.
func (b *bench) writes(ctx context.Context, r *report) error {
	if b.checks == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writesLimit)
	defer cancel()
	defer b.uncount(context.WithoutCancel(ctx))
	if err := b.count(ctx); err != nil {
		return err
	}
	const name = "writes"
	if _, err := b.fresh(ctx, name); err != nil {
		return err
	}
	for range history + 1 {
		if _, err := b.check(ctx, name); err != nil {
			return err
		}
	}
	before, err := b.quiet(ctx)
	if err != nil {
		return err
	}
	for range b.checks {
		if _, err := b.check(ctx, name); err != nil {
			return err
		}
		// One after the other, as checks are that a schedule asks for.
		if _, err := b.quiet(ctx); err != nil {
			return err
		}
	}
	after, err := b.quiet(ctx)
	if err != nil {
		return err
	}
	r.writes(b.checks, before, after)
	return b.clear(ctx, []string{name}, nil)
}

// count makes the FlowSchemas, one for each component and one for what is set aside.
func (b *bench) count(ctx context.Context) error {
	b.uncount(ctx)
	var all []flowcontrolv1.Subject
	for _, component := range components {
		account, err := b.account(ctx, component)
		if err != nil {
			return err
		}
		all = append(all, account)
		if err := b.stage.Client.Create(ctx, schema(schemaOf(component), 101, whereWritten[component], account)); err != nil {
			return fmt.Errorf("making a FlowSchema: %w", err)
		}
	}
	notRuns := schema(aside, 100, "*", all...)
	notRuns.Spec.Rules[0].ResourceRules[0].APIGroups = []string{
		"coordination.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
	}
	if err := b.stage.Client.Create(ctx, notRuns); err != nil {
		return fmt.Errorf("making a FlowSchema: %w", err)
	}
	return nil
}

func (b *bench) uncount(ctx context.Context) {
	for _, name := range []string{aside, schemaOf("controller"), schemaOf("state")} {
		s := &flowcontrolv1.FlowSchema{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := b.stage.Client.Delete(ctx, s); client.IgnoreNotFound(err) != nil {
			b.say("deleting FlowSchema %s: %v", name, err)
		}
	}
}

func schemaOf(component string) string { return "plumbline-bench-" + component }

// account is the ServiceAccount that a component of the installation has.
func (b *bench) account(ctx context.Context, component string) (flowcontrolv1.Subject, error) {
	var list appsv1.DeploymentList
	err := b.stage.Client.List(ctx, &list, client.InNamespace(install.Namespace),
		client.MatchingLabels{"app.kubernetes.io/name": "plumbline", "app.kubernetes.io/component": component})
	if err != nil {
		return flowcontrolv1.Subject{}, fmt.Errorf("reading the Deployment of %s: %w", component, err)
	}
	if len(list.Items) != 1 {
		return flowcontrolv1.Subject{}, fmt.Errorf("there are %d Deployments of %s", len(list.Items), component)
	}
	return flowcontrolv1.Subject{
		Kind: flowcontrolv1.SubjectKindServiceAccount,
		ServiceAccount: &flowcontrolv1.ServiceAccountSubject{
			Namespace: install.Namespace, Name: list.Items[0].Spec.Template.Spec.ServiceAccountName,
		},
	}, nil
}

// schema matches what subjects write in a namespace. It changes nothing about their priority.
func schema(name string, precedence int32, where string, subjects ...flowcontrolv1.Subject) *flowcontrolv1.FlowSchema {
	return &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "workload-low"},
			MatchingPrecedence:         precedence,
			DistinguisherMethod: &flowcontrolv1.FlowDistinguisherMethod{
				Type: flowcontrolv1.FlowDistinguisherMethodByUserType,
			},
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: subjects,
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs:     []string{"create", "update", "patch", "delete", "deletecollection"},
					APIGroups: []string{"*"}, Resources: []string{"*"}, Namespaces: []string{where}, ClusterScope: where == "*",
				}},
			}},
		},
	}
}

// quiet waits until the controller writes no more, and returns the counts.
func (b *bench) quiet(ctx context.Context) (counts, error) {
	clientset, err := kubernetes.NewForConfig(b.stage.Config)
	if err != nil {
		return counts{}, fmt.Errorf("making a client: %w", err)
	}
	var last counts
	for since := time.Now(); ; {
		text, err := clientset.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
		if err != nil {
			return counts{}, fmt.Errorf("reading the API server's metrics: %w", err)
		}
		now := countsIn(string(text))
		if !now.settled(last) {
			last, since = now, time.Now()
		}
		if time.Since(since) >= still {
			return now, nil
		}
		select {
		case <-ctx.Done():
			return counts{}, errors.Join(errors.New("waiting for the writes to end"), ctx.Err())
		case <-time.After(still / 8):
		}
	}
}
