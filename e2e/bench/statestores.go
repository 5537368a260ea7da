package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/e2e/stage"
	"github.com/plumbline-dev/plumbline/internal/realservers"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/server"
	"github.com/plumbline-dev/plumbline/state/store/open"
)

// namedStore is a store, for people.
type namedStore struct {
	name string
	state.Store
}

// benchBucket is of the S3 gateway.
const benchBucket = "bench"

// statesNamespace is for the Secrets of the store that is measured, which is not the installed one's.
const statesNamespace = "plumbline-bench-states"

// openStores opens one of each kind: in a folder, PostgreSQL, an S3 gateway, and as Secrets where there is a cluster.
func (b *bench) openStores(ctx context.Context) (stores []namedStore, closeAll func() error, err error) {
	var closers []func() error
	closeAll = func() error {
		var errs []error
		for _, closer := range slices.Backward(closers) {
			errs = append(errs, closer())
		}
		return errors.Join(errs...)
	}
	for _, kind := range []struct {
		name string
		open func(context.Context) (state.Store, func() error, error)
	}{
		{"a folder", openFolder},
		{"PostgreSQL", b.openPostgres},
		{"S3", b.openS3},
		{"Secrets", b.openSecrets},
	} {
		store, closer, err := kind.open(ctx)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("opening a store (%s): %w", kind.name, err), closeAll())
		}
		if store == nil {
			b.say("there is no cluster: %s are left out", kind.name)
			continue
		}
		stores, closers = append(stores, namedStore{kind.name, store}), append(closers, closer)
	}
	return stores, closeAll, nil
}

func storeOptions() open.Options { return open.Options{Clock: clock.RealClock{}} }

func openFolder(ctx context.Context) (state.Store, func() error, error) {
	folder, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, nil, fmt.Errorf("making a folder: %w", err)
	}
	store, err := open.Open(ctx, "file://"+folder, storeOptions())
	return store, func() error { return os.RemoveAll(folder) }, err
}

func (b *bench) openPostgres(ctx context.Context) (state.Store, func() error, error) {
	s, err := realservers.StartPostgres(ctx, b.say)
	if err != nil {
		return nil, nil, err
	}
	folder, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, nil, errors.Join(err, s.Stop())
	}
	stop := func() error { return errors.Join(s.Stop(), os.RemoveAll(folder)) }
	password := filepath.Join(folder, "password")
	if err := os.WriteFile(password, []byte(s.Password), 0o600); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	address := s.URL(realservers.Superuser, "") + "&passwordfile=" + url.QueryEscape(password)
	store, err := open.Open(ctx, address, storeOptions())
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return store, func() error {
		store.(interface{ Close() }).Close()
		return stop()
	}, nil
}

func (b *bench) openS3(ctx context.Context) (state.Store, func() error, error) {
	s, err := realservers.StartS3(ctx, b.say)
	if err != nil {
		return nil, nil, err
	}
	err = errors.Join(s.Bucket(benchBucket), os.Setenv("AWS_ACCESS_KEY_ID", s.AccessKey),
		os.Setenv("AWS_SECRET_ACCESS_KEY", s.SecretKey), os.Setenv("AWS_EC2_METADATA_DISABLED", "true"))
	if err != nil {
		return nil, nil, errors.Join(err, s.Stop())
	}
	store, err := open.Open(ctx, s.URL(benchBucket), storeOptions())
	if err != nil {
		return nil, nil, errors.Join(err, s.Stop())
	}
	return store, s.Stop, nil
}

// openSecrets returns none where there is no cluster.
func (b *bench) openSecrets(ctx context.Context) (state.Store, func() error, error) {
	if b.stage == nil {
		found, err := stage.Find(ctx, b.say)
		if err != nil {
			return nil, nil, nil //nolint:nilerr // there is none, and the others are measured without
		}
		b.stage = found
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: statesNamespace}}
	if err := b.stage.Client.Create(ctx, ns); client.IgnoreAlreadyExists(err) != nil {
		return nil, nil, fmt.Errorf("creating a namespace: %w", err)
	}
	c, err := server.NewKubeClient(b.stage.Config)
	if err != nil {
		return nil, nil, err
	}
	o := storeOptions()
	o.Client, o.Namespace = c, statesNamespace
	store, err := open.Open(ctx, "kube://", o)
	return store, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
		defer cancel()
		return client.IgnoreNotFound(b.stage.Client.Delete(ctx, ns))
	}, err
}
