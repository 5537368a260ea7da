package realservers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/plumbline-dev/plumbline/internal/tools"
)

// S3 is a running gateway over a folder, with its root's keys.
type S3 struct {
	Endpoint  string
	AccessKey string
	SecretKey string

	binary  string
	buckets string
	process *process
}

// StartS3 starts a gateway without buckets.
func StartS3(ctx context.Context, log Logf) (*S3, error) {
	binary, err := tools.Path(ctx, tools.Logf(log), "versitygw", "")
	if err != nil {
		return nil, fmt.Errorf("finding an S3 server: %w", err)
	}
	folder, err := os.MkdirTemp("", "s3-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	s := &S3{
		AccessKey: "test-access", SecretKey: "super-secret", binary: binary, buckets: filepath.Join(folder, "buckets"),
	}
	if err := s.start(ctx, folder); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return s, nil
}

func (s *S3) start(ctx context.Context, folder string) error {
	meta, users := filepath.Join(folder, "meta"), filepath.Join(folder, "users")
	for _, f := range []string{s.buckets, meta, users} {
		if err := os.Mkdir(f, 0o700); err != nil {
			return fmt.Errorf("making a folder: %w", err)
		}
	}
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	s.Endpoint = "http://" + address
	// The server outlives the call that starts it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.binary, "--port", address, "--quiet", "--keep-alive",
		"--iam-dir", users, "--iam-cache-disable", "posix", "--sidecar", meta, s.buckets)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	if s.process, err = start(folder, cmd); err != nil {
		return err
	}
	return s.process.await(ctx, dials(address))
}

// Bucket makes a bucket.
func (s *S3) Bucket(name string) error {
	if err := os.Mkdir(filepath.Join(s.buckets, name), 0o700); err != nil {
		return fmt.Errorf("making a bucket: %w", err)
	}
	return nil
}

// Put makes an object, and tells apart what is there from what isn't as its clients do.
func (s *S3) Put(ctx context.Context, bucket, key string, data []byte) error {
	if _, err := s.client().PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key,
		Body: bytes.NewReader(data)}); err != nil {
		return fmt.Errorf("making an object: %w", err)
	}
	return nil
}

// Has tells whether there is an object of this name.
func (s *S3) Has(ctx context.Context, bucket, key string) bool {
	_, err := s.client().HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	return err == nil
}

func (s *S3) client() *s3.Client {
	keys := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}, nil
	})
	return s3.New(s3.Options{BaseEndpoint: &s.Endpoint, Region: "us-east-1", UsePathStyle: true, Credentials: keys})
}

// RemoveBucket removes a bucket with all that is in it, as somebody might by mistake.
func (s *S3) RemoveBucket(name string) error { return os.RemoveAll(filepath.Join(s.buckets, name)) }

// Admin runs a command of the gateway's administrator, such as create-user.
func (s *S3) Admin(ctx context.Context, args ...string) error {
	args = append([]string{"admin", "--allow-insecure", "--access", s.AccessKey, "--secret", s.SecretKey,
		"--endpoint-url", s.Endpoint}, args...)
	if output, err := exec.CommandContext(ctx, s.binary, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("running admin: %w\n%s", err, output)
	}
	return nil
}

// URL names a bucket of the gateway as the state service does.
func (s *S3) URL(bucket string) string {
	query := url.Values{"endpoint": {s.Endpoint}, "region": {"us-east-1"}, "use_path_style": {"true"}}
	return "s3://" + bucket + "?" + query.Encode()
}

// Stop ends the server and removes its data.
func (s *S3) Stop() error { return s.process.stop(os.Interrupt) }
