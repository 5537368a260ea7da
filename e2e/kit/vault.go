package kit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/e2e/vaultserver"
	"github.com/plumbline-dev/plumbline/internal/realservers"
)

// Vault is a real one beside the cluster, set up as docs/credentials.md says, and a PostgreSQL that it gives users for.
type Vault struct {
	*vaultserver.Server
	// Database is the PostgreSQL, and DatabaseHost where Pods reach it.
	Database     *realservers.Postgres
	DatabaseHost string

	kit   *Kit
	audit string
}

// Vault starts one of a single node, which has no elections, when the first test asks for it. All share it until the
// suite ends.
func (k *Kit) Vault(t testing.TB) *Vault {
	t.Helper()
	k.vaultMutex.Lock()
	defer k.vaultMutex.Unlock()
	if k.vault != nil {
		return k.vault
	}
	k.vault = k.startVault(t, 1)
	return k.vault
}

// OwnVault is one of three nodes for a test that harms it: nobody else uses it, and it ends with the test.
func (k *Kit) OwnVault(t testing.TB) *Vault {
	t.Helper()
	v := k.startVault(t, 3)
	t.Cleanup(func() {
		if err := v.stop(); err != nil {
			t.Errorf("stopping Vault: %v", err)
		}
	})
	return v
}

func (k *Kit) startVault(t testing.TB, nodes int) *Vault {
	t.Helper()
	v := &Vault{kit: k}
	if err := v.start(context.WithoutCancel(t.Context()), nodes); err != nil {
		t.Fatalf("starting Vault: %v", errors.Join(err, v.stop()))
	}
	return v
}

// start outlives the test that asks first.
func (v *Vault) start(ctx context.Context, nodes int) error {
	var err error
	v.Server, err = vaultserver.Start(ctx, vaultserver.Options{
		Config: v.kit.Config, Namespace: cloudNamespace, Nodes: nodes, Log: v.kit.log,
	})
	if err != nil {
		return err
	}
	if v.Database, err = realservers.StartPostgres(ctx, realservers.Logf(v.kit.log)); err != nil {
		return err
	}
	if v.DatabaseHost, err = v.Front(ctx, v.Database.Host); err != nil {
		return err
	}
	return v.setUp(ctx)
}

// stop ends what was started of it.
func (v *Vault) stop() error {
	if v == nil {
		return nil
	}
	var errs []error
	if v.Server != nil {
		errs = append(errs, v.Stop())
	}
	if v.Database != nil {
		errs = append(errs, v.Database.Stop())
	}
	if v.audit != "" {
		errs = append(errs, os.RemoveAll(filepath.Dir(v.audit)))
	}
	return errors.Join(errs...)
}

// VaultClass makes a RunnerClass of the tests' runner that knows Vault, for one Space, and makes a Workspace use it.
func (s *Space) VaultClass(t testing.TB, v *Vault, options ...func(*v1alpha1.VaultServer)) func(*v1alpha1.Workspace) {
	t.Helper()
	var class v1alpha1.RunnerClass
	if err := s.Get(t.Context(), client.ObjectKey{Name: ClassName}, &class); err != nil {
		t.Fatalf("reading RunnerClass: %v", err)
	}
	server := &v1alpha1.VaultServer{
		Address: v.Address, AuthPath: "auth/kubernetes", Audience: "vault", CABundle: string(v.CA()), Role: VaultRole,
		RevokerRole: vaultRevoker, Margin: &metav1.Duration{Duration: 10 * time.Second},
	}
	for _, option := range options {
		option(server)
	}
	made := &v1alpha1.RunnerClass{ObjectMeta: metav1.ObjectMeta{Name: s.Name}, Spec: class.Spec}
	made.Spec.Vault = server
	if err := s.WithWatch.Create(t.Context(), made); err != nil {
		t.Fatalf("creating RunnerClass: %v", err)
	}
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(s.Delete(After(t), made)); err != nil {
			t.Errorf("deleting RunnerClass: %v", err)
		}
	})
	return func(w *v1alpha1.Workspace) { w.Spec.RunnerClassName = s.Name }
}
