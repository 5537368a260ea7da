// Package kit is what the end-to-end tests share: the cluster with Plumbline in it, a namespace for each test, waiting
// by watches, and the misbehaving cloud.
//
//	TestMain --Start--> cluster + Plumbline + cloud + RunnerClass "e2e"
//	test --NewSpace--> namespace (restricted) --Create, Await, Faults--> ... --> deleted at the test's end
//
// A cluster of this checkout that runs already is used and left as it was.
package kit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/e2e/cluster"
	"github.com/plumbline-dev/plumbline/e2e/install"
	"github.com/plumbline-dev/plumbline/internal/tools"
	"github.com/plumbline-dev/plumbline/runner"
)

const (
	// System is where Plumbline runs.
	System = install.Namespace
	// ClassName is the RunnerClass whose image carries the cloud's provider.
	ClassName = "e2e"

	startTimeout = 25 * time.Minute
	stopTimeout  = 3 * time.Minute
)

// errExternal says why a cluster that somebody else uses is no place for these tests.
var errExternal = errors.New("the end-to-end tests stop parts of the cluster and load images into it: " +
	"unset PLUMBLINE_KUBECONFIG, and they start one of their own")

// Kit is the running installation. All tests share one.
type Kit struct {
	client.WithWatch
	Config  *rest.Config
	Set     kubernetes.Interface
	Cluster *cluster.Cluster

	started bool
	log     tools.Logf

	vaultMutex sync.Mutex
	vault      *Vault
}

// Start brings up what the tests need, or finds it.
func Start(ctx context.Context, log tools.Logf) (*Kit, error) {
	if os.Getenv("PLUMBLINE_KUBECONFIG") != "" {
		return nil, errExternal
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	_, err := cluster.Find(ctx)
	k := &Kit{started: errors.Is(err, cluster.ErrDown), log: log}
	if k.Cluster, err = install.Up(ctx, log); err != nil {
		return nil, fmt.Errorf("starting Plumbline: %w", err)
	}
	if err := k.connect(); err != nil {
		return nil, errors.Join(err, k.Stop(ctx))
	}
	if err := k.equip(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("preparing the tests: %w", err), k.Stop(ctx))
	}
	return k, nil
}

func (k *Kit) connect() error {
	var err error
	if k.Config, err = clientcmd.BuildConfigFromFlags("", k.Cluster.Kubeconfig()); err != nil {
		return fmt.Errorf("reading kubeconfig: %w", err)
	}
	k.Config.QPS = -1
	scheme, err := runner.Scheme()
	if err != nil {
		return err
	}
	if k.WithWatch, err = client.NewWithWatch(k.Config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	if k.Set, err = kubernetes.NewForConfig(k.Config); err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	return nil
}

// equip loads the tests' own images, starts the cloud and makes the RunnerClass.
func (k *Kit) equip(ctx context.Context) error {
	image, err := runnerImage(ctx, k.log)
	if err != nil {
		return err
	}
	if err := k.Cluster.Load(ctx, image.archive); err != nil {
		return err
	}
	if err := k.Cluster.LoadProgram(ctx, cloudImage, "./e2e/cloud/cmd/cloud"); err != nil {
		return err
	}
	class := &v1alpha1.RunnerClass{
		ObjectMeta: metav1.ObjectMeta{Name: ClassName},
		Spec: v1alpha1.RunnerClassSpec{
			Image:        image.reference,
			PluginMirror: &v1alpha1.PluginMirror{Path: "/plugins"},
		},
	}
	if err := k.replace(ctx, class); err != nil {
		return err
	}
	return k.startCloud(ctx)
}

// replace makes an object anew, whatever an earlier suite left.
func (k *Kit) replace(ctx context.Context, o client.Object) error {
	if err := client.IgnoreNotFound(k.Delete(ctx, o)); err != nil {
		return fmt.Errorf("deleting %s: %w", o.GetName(), err)
	}
	if err := k.until(ctx, func(ctx context.Context) error {
		o.SetResourceVersion("")
		return k.Create(ctx, o)
	}); err != nil {
		return fmt.Errorf("creating %s: %w", o.GetName(), err)
	}
	return nil
}

// until tries until it works or time is up. It is for what can't be watched.
func (k *Kit) until(ctx context.Context, try func(context.Context) error) error {
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// Stop removes what the tests added, and the cluster when Start began it. KEEP=1 keeps both.
func (k *Kit) Stop(ctx context.Context) error {
	stopped := k.vault.stop()
	if os.Getenv("KEEP") != "" {
		return stopped
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if k.started {
		return errors.Join(stopped, k.Cluster.Down(ctx))
	}
	if k.WithWatch == nil {
		return stopped
	}
	return errors.Join(stopped,
		client.IgnoreNotFound(k.Delete(ctx, &v1alpha1.RunnerClass{ObjectMeta: metav1.ObjectMeta{Name: ClassName}})),
		client.IgnoreNotFound(k.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: cloudNamespace}})),
	)
}
