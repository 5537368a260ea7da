// Package open chooses a store by its URL, so that one flag says where states are kept. It is the only package that
// imports the stores' clients; only the state service pays for them.
//
//	kube://                                     Secrets in the system namespace
//	s3://bucket/prefix?region=R&endpoint=URL    Amazon S3 and what is compatible with it
//	azblob://container/prefix                   Azure Blob Storage
//	gs://bucket/prefix                          Google Cloud Storage
//	postgres://host/database?passwordfile=PATH  PostgreSQL
//	file:///folder                              a folder
//
// No URL needs a secret in it: docs/state.md says where each store takes its credentials from.
package open

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/blob"
	"github.com/plumbline-dev/plumbline/state/store/folder"
	"github.com/plumbline-dev/plumbline/state/store/kube"
	"github.com/plumbline-dev/plumbline/state/store/postgres"
)

// ErrURL is returned for a URL that no store can be opened by, however often one tries.
var ErrURL = errors.New("not the URL of a store")

// Options are what stores need beside their URL.
type Options struct {
	// Client and Namespace are for kube://; the client must not read from a cache.
	Client    client.Client
	Namespace string
	Clock     clock.WithTicker
}

type opener func(context.Context, *url.URL, Options) (state.Store, error)

var openers = map[string]opener{
	"kube":       openKube,
	"s3":         openBlob(s3Kind),
	"azblob":     openBlob(azureKind),
	"gs":         openBlob(googleKind),
	"postgres":   openPostgres,
	"postgresql": openPostgres,
	"file":       openFolder,
}

// Check returns ErrURL for a URL that Open will not take because of its scheme.
func Check(address string) error {
	_, _, err := find(address)
	return err
}

// Open opens the store of a URL.
func Open(ctx context.Context, address string, o Options) (state.Store, error) {
	open, u, err := find(address)
	if err != nil {
		return nil, err
	}
	store, err := open(ctx, u, o)
	if err != nil {
		return nil, fmt.Errorf("opening the store %s://%s: %w", u.Scheme, u.Host, err)
	}
	return store, nil
}

func find(address string) (opener, *url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		// The error would repeat the URL, password included.
		return nil, nil, fmt.Errorf("%w: it can't be read as a URL", ErrURL)
	}
	open, ok := openers[u.Scheme]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(openers)), "://, ")
		return nil, nil, fmt.Errorf("%w: the scheme %q is unknown; there are %s://", ErrURL, u.Scheme, known)
	}
	if u.User != nil && !strings.HasPrefix(u.Scheme, "postgres") {
		return nil, nil, fmt.Errorf("%w: %s:// takes no user or password", ErrURL, u.Scheme)
	}
	return open, u, nil
}

func openKube(_ context.Context, u *url.URL, o Options) (state.Store, error) {
	if u.Host != "" || u.Path != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("%w: kube:// takes nothing more", ErrURL)
	}
	return kube.New(o.Client, o.Namespace), nil
}

func openFolder(_ context.Context, u *url.URL, _ Options) (state.Store, error) {
	if u.Host != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("%w: a folder is file:///path, and takes no parameters", ErrURL)
	}
	return folder.Open(strings.TrimRight(u.Path, "/"))
}

func openPostgres(ctx context.Context, u *url.URL, o Options) (state.Store, error) {
	return postgres.Open(ctx, u.String(), o.Clock)
}

func openBlob(kindOf func(*url.URL) (blob.Kind, error)) opener {
	return func(ctx context.Context, u *url.URL, o Options) (state.Store, error) {
		if u.Host == "" {
			return nil, fmt.Errorf("%w: it names no bucket", ErrURL)
		}
		prefix := strings.Trim(u.Path, "/")
		if prefix != "" {
			prefix += "/"
		}
		bare := *u
		bare.Path = ""
		kind, err := kindOf(&bare)
		if err != nil {
			return nil, err
		}
		return blob.Open(ctx, blob.Options{Kind: kind, Prefix: prefix, Clock: o.Clock})
	}
}

// cut takes a parameter out of a URL.
func cut(u *url.URL, parameter string) (*url.URL, string) {
	rest := *u
	query := rest.Query()
	value := query.Get(parameter)
	query.Del(parameter)
	rest.RawQuery = query.Encode()
	return &rest, value
}

func orElse(value, otherwise string) string {
	if value != "" {
		return value
	}
	return otherwise
}
