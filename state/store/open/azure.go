package open

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	azblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	cloud "gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"

	"github.com/plumbline-dev/plumbline/state/store/blob"
)

// azureKind opens containers of Azure Blob Storage. The credentials are those of the environment (a workload identity,
// or AZURE_STORAGE_KEY), or the account's key in the file that keyfile names.
func azureKind(u *url.URL) (blob.Kind, error) {
	u, keyFile := cut(u, "keyfile")
	makeClient := azureblob.NewDefaultClient
	kind := blob.Kind{Judge: judgeAzure, Put: putAzure}
	if keyFile != "" {
		kind.CredentialFiles = []string{keyFile}
		makeClient = keyedClient(keyFile)
	}
	kind.Open = func(ctx context.Context) (*cloud.Bucket, error) {
		opener := azureblob.URLOpener{MakeClient: makeClient, ServiceURLOptions: *azureblob.NewDefaultServiceURLOptions()}
		return opener.OpenBucketURL(ctx, u)
	}
	return kind, nil
}

func keyedClient(keyFile string) func(azureblob.ServiceURL, azureblob.ContainerName) (*container.Client, error) {
	return func(service azureblob.ServiceURL, name azureblob.ContainerName) (*container.Client, error) {
		key, err := os.ReadFile(keyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the account's key: %w", err)
		}
		address, err := url.Parse(string(service))
		if err != nil {
			return nil, errors.New("reading the service's URL")
		}
		credential, err := container.NewSharedKeyCredential(accountOf(address), strings.TrimSpace(string(key)))
		if err != nil {
			return nil, errors.New("reading the account's key: it is not base64")
		}
		return container.NewClientWithSharedKeyCredential(address.JoinPath(string(name)).String(), credential, nil)
	}
}

// accountOf finds it where azureblob.NewServiceURL has put it: before the domain, or, for an emulator, behind it.
func accountOf(service *url.URL) string {
	if path := strings.Trim(service.Path, "/"); path != "" {
		return path
	}
	account, _, _ := strings.Cut(service.Host, ".")
	return account
}

// putAzure writes in one request, from memory of Go's. gocloud takes UploadStream, which unmaps its buffers as soon as
// an answer is there; when that comes before the whole body was read, as with a refusal, the process dies of a fault.
func putAzure(ctx context.Context, b *cloud.Bucket, object blob.Object) error {
	var client *container.Client
	if !b.As(&client) {
		return errors.New("the bucket is none of Azure")
	}
	metadata := map[string]*string{}
	for key, value := range object.Metadata {
		metadata[key] = &value
	}
	body := streaming.NopCloser(bytes.NewReader(object.Data))
	_, err := client.NewBlockBlobClient(object.Name).Upload(ctx, body, &blockblob.UploadOptions{
		Metadata: metadata,
		AccessConditions: &azblob.AccessConditions{
			ModifiedAccessConditions: &azblob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)},
		},
	})
	return err
}

func judgeAzure(err error) blob.Verdict {
	var response *azcore.ResponseError
	if !errors.As(err, &response) {
		return blob.Failed
	}
	switch bloberror.Code(response.ErrorCode) {
	case bloberror.BlobNotFound:
		return blob.Missing
	case bloberror.BlobAlreadyExists, bloberror.ConditionNotMet, bloberror.TargetConditionNotMet:
		return blob.Exists
	case bloberror.ServerBusy:
		return blob.Busy
	}
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return blob.Denied
	case http.StatusPreconditionFailed:
		return blob.Exists
	}
	return blob.Failed
}
