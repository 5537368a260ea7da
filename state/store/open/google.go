package open

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"cloud.google.com/go/storage"
	cloud "gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/gcp"
	"google.golang.org/api/googleapi"

	"github.com/plumbline-dev/plumbline/state/store/blob"
)

// googleKind opens buckets of Google Cloud Storage with the application's default credentials: a workload identity, or
// the file that GOOGLE_APPLICATION_CREDENTIALS names.
func googleKind(u *url.URL) (blob.Kind, error) {
	open := openGoogle
	if os.Getenv("STORAGE_EMULATOR_HOST") != "" {
		open = cloud.OpenBucket
	}
	return blob.Kind{
		Open:  func(ctx context.Context) (*cloud.Bucket, error) { return open(ctx, u.String()) },
		Judge: judgeGoogle, CredentialFiles: []string{os.Getenv("GOOGLE_APPLICATION_CREDENTIALS")},
	}, nil
}

// openGoogle is what gocloud does by itself, except that it would read the credentials only once.
func openGoogle(ctx context.Context, address string) (*cloud.Bucket, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("reading the URL: %w", err)
	}
	credentials, err := gcp.DefaultCredentials(ctx)
	if err != nil {
		return nil, fmt.Errorf("finding Google's default credentials: %w", err)
	}
	client, err := gcp.NewHTTPClient(gcp.DefaultTransport(), gcp.CredentialsTokenSource(credentials))
	if err != nil {
		return nil, fmt.Errorf("preparing a client: %w", err)
	}
	return (&gcsblob.URLOpener{Client: client}).OpenBucketURL(ctx, u)
}

func judgeGoogle(err error) blob.Verdict {
	var answer *googleapi.Error
	if !errors.As(err, &answer) {
		if errors.Is(err, storage.ErrObjectNotExist) {
			return blob.Unsure
		}
		return blob.Failed
	}
	switch answer.Code {
	case http.StatusNotFound:
		// A bucket that is gone says the same.
		return blob.Unsure
	case http.StatusPreconditionFailed:
		return blob.Exists
	case http.StatusUnauthorized, http.StatusForbidden:
		return blob.Denied
	case http.StatusTooManyRequests, http.StatusConflict:
		return blob.Busy
	}
	return blob.Failed
}
