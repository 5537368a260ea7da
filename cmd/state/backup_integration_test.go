//go:build integration

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/internal/realservers"
	"github.com/plumbline-dev/plumbline/state/server"
)

// The procedure of docs/backup.md, from a store that is in use to an empty one, with each kind of store as it is.

func TestBackUpAndRestoreSecrets(t *testing.T) {
	env := &envtest.Environment{
		CRDDirectoryPaths: []string{filepath.Join("..", "..", "deploy", "crds")}, ErrorIfCRDPathMissing: true,
	}
	config, err := env.Start()
	if err != nil {
		t.Fatalf("starting the API server: %v", err)
	}
	defer stopped(t, env.Stop)
	c, err := server.NewKubeClient(config)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := client.New(config, client.Options{Scheme: c.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	ws := &v1alpha1.Workspace{
		ObjectMeta: metav1.ObjectMeta{Namespace: "old", Name: "ws"},
	}
	ws.Spec.Source.Inline = &v1alpha1.InlineSource{Files: map[string]string{"main.tf": ""}}
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "old"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "next"}}, ws,
	} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	old, next := installed(t, c, "old", "kube://"), installed(t, c, "next", "kube://")
	old.uid, next.uid = string(ws.UID), string(ws.UID)
	backUpAndRestore(t, old, next)
}

func TestBackUpAndRestorePostgres(t *testing.T) {
	db, err := realservers.StartPostgres(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer stopped(t, db.Stop)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(db.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	table := func(name string) string {
		return fmt.Sprintf("%s&passwordfile=%s&table=%s", db.URL(realservers.Superuser, ""), password, name)
	}
	c := cluster(t)
	backUpAndRestore(t, installed(t, c, "old", table("old")), installed(t, c, "next", table("next")))
}

func TestBackUpAndRestoreS3(t *testing.T) {
	s3, err := realservers.StartS3(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer stopped(t, s3.Stop)
	t.Setenv("AWS_ACCESS_KEY_ID", s3.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3.SecretKey)
	for _, bucket := range []string{"old", "next"} {
		if err := s3.Bucket(bucket); err != nil {
			t.Fatal(err)
		}
	}
	c := cluster(t)
	backUpAndRestore(t, installed(t, c, "old", s3.URL("old")), installed(t, c, "next", s3.URL("next")))
}

func stopped(t *testing.T, stop func() error) {
	t.Helper()
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}
