package open

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	cloud "gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"

	"github.com/plumbline-dev/plumbline/state/store/blob"
)

// s3Kind opens buckets of Amazon S3 and of what is compatible with it.
func s3Kind(u *url.URL) (blob.Kind, error) {
	env, err := config.NewEnvConfig()
	if err != nil {
		return blob.Kind{}, fmt.Errorf("reading the AWS environment: %w", err)
	}
	sse, err := encryption(u.Query())
	if err != nil {
		return blob.Kind{}, err
	}
	files := []string{orElse(env.SharedCredentialsFile, config.DefaultSharedCredentialsFilename()),
		orElse(env.SharedConfigFile, config.DefaultSharedConfigFilename())}
	return blob.Kind{
		Open: func(ctx context.Context) (*cloud.Bucket, error) {
			return (&s3blob.URLOpener{}).OpenBucketURL(ctx, u)
		},
		Judge: judgeS3, Put: putS3(u.Host, sse), CredentialFiles: files,
	}, nil
}

// sse is how the server is to encrypt what it stores; empty for as the bucket says.
type sse struct {
	kind types.ServerSideEncryption
	key  *string
}

// encryption reads what gocloud honours in its own writer alone.
func encryption(query url.Values) (sse, error) {
	s := sse{kind: types.ServerSideEncryption(query.Get("ssetype"))}
	if known := s.kind.Values(); s.kind != "" && !slices.Contains(known, s.kind) {
		return sse{}, fmt.Errorf("%w: ssetype %q is none of %v", ErrURL, s.kind, known)
	}
	if key := query.Get("kmskeyid"); key != "" {
		if !strings.HasPrefix(string(s.kind), "aws:kms") {
			return sse{}, fmt.Errorf("%w: kmskeyid is for ssetype=aws:kms or aws:kms:dsse", ErrURL)
		}
		s.key = &key
	}
	return s, nil
}

// putS3 writes in one request. gocloud would write anything over 16 MiB in parts, whose condition not every compatible
// server minds, and what was proven at the start with a small object would not hold for a large one.
func putS3(bucket string, sse sse) func(context.Context, *cloud.Bucket, blob.Object) error {
	return func(ctx context.Context, b *cloud.Bucket, object blob.Object) error {
		var client *s3.Client
		if !b.As(&client) {
			return errors.New("the bucket is none of S3")
		}
		_, err := client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &bucket, Key: &object.Name, Body: bytes.NewReader(object.Data), Metadata: object.Metadata,
			ContentType: aws.String("application/octet-stream"), IfNoneMatch: aws.String("*"),
			ServerSideEncryption: sse.kind, SSEKMSKeyId: sse.key,
		})
		return err
	}
}

// s3Codes are what S3 and its kin say.
var s3Codes = map[string]blob.Verdict{
	"NoSuchKey": blob.Missing,
	// The answer to a HEAD has no body, so it can't say what is missing.
	"NotFound":                   blob.Unsure,
	"PreconditionFailed":         blob.Exists,
	"ConditionalRequestConflict": blob.Busy,
	"OperationAborted":           blob.Busy,
	"SlowDown":                   blob.Busy,
	"AccessDenied":               blob.Denied,
	"ExpiredToken":               blob.Denied,
	"ExpiredTokenException":      blob.Denied,
	"InvalidAccessKeyId":         blob.Denied,
	"InvalidToken":               blob.Denied,
	"SignatureDoesNotMatch":      blob.Denied,
	"TokenRefreshRequired":       blob.Denied,
	"XAdminNoSuchUser":           blob.Denied,
}

func judgeS3(err error) blob.Verdict {
	if coded, ok := errors.AsType[smithy.APIError](err); ok {
		if verdict, ok := s3Codes[coded.ErrorCode()]; ok {
			return verdict
		}
	}
	if response, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		switch response.HTTPStatusCode() {
		case http.StatusUnauthorized, http.StatusForbidden:
			return blob.Denied
		case http.StatusPreconditionFailed:
			return blob.Exists
		}
	}
	return blob.Failed
}
