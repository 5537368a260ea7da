// Package kube is the state.Store that needs nothing but the cluster itself: values are Secrets in one namespace.
//
//	Create: data -> gzip -> chunk Secrets (when over one Secret's size) -> head Secret
//	Get:    head Secret -> chunk Secrets -> gunzip
//
// The head has a name made from the key, so creating it is atomic, and it is written last and deleted first: a reader
// sees a whole value or none. The key itself is an annotation; labels say which folders it lies in, so that a listing
// asks for just those and for metadata alone. Chunks of a writer that died before its head are removed by Sweep.
package kube

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/state"
)

const (
	// maxChunk keeps a Secret well under the API server's 1 MiB.
	maxChunk = 900 << 10
	// parallel is how many chunks of one value travel at once.
	parallel = 4
	// cleanupTimeout is for what is done after a caller's own deadline.
	cleanupTimeout = 10 * time.Second
	page           = 500
	// minRoom is for gzip's own words.
	minRoom = 64
)

// Store is a state.Store of Secrets in one namespace.
type Store struct {
	client    client.Client
	namespace string
}

var _ state.Store = (*Store)(nil)

// New returns the store. The client must not read from a cache: a Get after a Create has to find it.
func New(c client.Client, namespace string) *Store {
	return &Store{client: c, namespace: namespace}
}

// Create implements state.Store.
func (s *Store) Create(ctx context.Context, key string, data []byte) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	packed, err := pack(data)
	if err != nil {
		return err
	}
	if len(packed) <= maxChunk {
		return s.createHead(ctx, s.newHead(key, packed))
	}
	return s.createChunked(ctx, key, packed)
}

func (s *Store) createChunked(ctx context.Context, key string, packed []byte) error {
	// A key that is taken is the usual way to fail; it shall not cost the upload of all chunks.
	if _, err := s.head(ctx, key); err == nil {
		return state.ErrExists
	}
	chunks := newChunkSet(key, len(packed))
	if err := s.createChunks(ctx, key, chunks, packed); err != nil {
		s.dropAfterFailure(ctx, chunks) // no head was sent that could name them
		return err
	}
	err := s.createHead(ctx, s.newChunkedHead(key, chunks))
	if errors.Is(err, state.ErrExists) {
		err = s.unlessMine(ctx, key, chunks)
	}
	if err != nil && refused(err) {
		s.dropAfterFailure(ctx, chunks)
	}
	// A head that seems to have failed otherwise may still be on its way: its chunks stay. If it never comes, Sweep takes
	// them.
	return err
}

// unlessMine returns ErrExists unless the head that is there names these chunks: then the request was repeated on its
// way, and the refusal was of its second arrival.
func (s *Store) unlessMine(ctx context.Context, key string, chunks chunkSet) error {
	head, err := s.headMeta(ctx, key)
	switch {
	case err != nil && !notFound(err):
		return fmt.Errorf("looking whose secret %s is: %w", headName(key), err)
	case err == nil && chunksOf(head).attempt == chunks.attempt:
		return nil
	}
	return state.ErrExists
}

// refused tells whether a head was certainly not created, and never will be by this request: the API server itself has
// said so. A time-out, a broken connection or a server's failure says nothing about what becomes of the request.
func refused(err error) bool {
	if errors.Is(err, state.ErrExists) {
		return true
	}
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
		return false
	}
	switch status.Status().Reason {
	case metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonRequestEntityTooLarge,
		metav1.StatusReasonUnauthorized, metav1.StatusReasonBadRequest, metav1.StatusReasonNotFound:
		return true
	}
	return false
}

func (s *Store) createHead(ctx context.Context, head *corev1.Secret) error {
	err := s.client.Create(ctx, head)
	if apierrors.IsAlreadyExists(err) {
		return state.ErrExists
	}
	if err != nil {
		return fmt.Errorf("creating secret %s: %w", head.Name, err)
	}
	return nil
}

func (s *Store) createChunks(ctx context.Context, key string, chunks chunkSet, packed []byte) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, data := range slices.Collect(slices.Chunk(packed, maxChunk)) {
		group.Go(func() error {
			chunk := s.newChunk(key, chunks.names[i], data)
			if err := s.client.Create(ctx, chunk); err != nil {
				return fmt.Errorf("creating secret %s: %w", chunk.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// dropAfterFailure removes chunks that no head names and none will.
func (s *Store) dropAfterFailure(ctx context.Context, chunks chunkSet) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	s.dropChunks(ctx, chunks)
}

// dropChunks does what it can; what stays is found by Sweep.
func (s *Store) dropChunks(ctx context.Context, chunks chunkSet) {
	var group errgroup.Group
	group.SetLimit(parallel)
	for _, name := range chunks.names {
		group.Go(func() error { return s.client.Delete(ctx, s.named(name)) })
	}
	_ = group.Wait()
}

// Get implements state.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := usable(ctx, key); err != nil {
		return nil, err
	}
	head, err := s.head(ctx, key)
	if err != nil {
		return nil, err
	}
	packed := head.Data[dataKey]
	if chunks := chunksOf(head); len(chunks.names) > 0 {
		if packed, err = s.readChunks(ctx, chunks); err != nil {
			return nil, s.explain(ctx, head, err)
		}
	}
	return unpack(packed)
}

func (s *Store) head(ctx context.Context, key string) (*corev1.Secret, error) {
	head := &corev1.Secret{}
	err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: headName(key)}, head)
	if notFound(err) {
		return nil, state.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", headName(key), err)
	}
	if head.Annotations[annotationKey] != key {
		return nil, fmt.Errorf("reading secret %s: %w: it is not of the key it is named after",
			head.Name, state.ErrDamaged)
	}
	return head, nil
}

func (s *Store) readChunks(ctx context.Context, chunks chunkSet) ([]byte, error) {
	parts := make([][]byte, len(chunks.names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, name := range chunks.names {
		group.Go(func() error {
			chunk := &corev1.Secret{}
			err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, chunk)
			if err != nil {
				return fmt.Errorf("reading secret %s: %w", name, err)
			}
			parts[i] = chunk.Data[dataKey]
			return nil
		})
	}
	err := group.Wait()
	return bytes.Join(parts, nil), err
}

// explain tells a value that was deleted while it was read from one that is damaged.
func (s *Store) explain(ctx context.Context, head *corev1.Secret, err error) error {
	if !notFound(err) {
		return err
	}
	now, headErr := s.headMeta(ctx, head.Annotations[annotationKey])
	if notFound(headErr) || (headErr == nil && now.UID != head.UID) {
		return state.ErrNotFound
	}
	if headErr != nil {
		return fmt.Errorf("a chunk of the value is missing, and its head can't be looked at: %w", headErr)
	}
	return fmt.Errorf("%w: a chunk of the value is missing: %w", state.ErrDamaged, err)
}

// List implements state.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	heads, err := s.list(ctx, headLabels(prefix))
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(heads))
	for i := range heads {
		if key := heads[i].Annotations[annotationKey]; strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

func (s *Store) list(ctx context.Context, labels client.MatchingLabels) ([]metav1.PartialObjectMetadata, error) {
	var all []metav1.PartialObjectMetadata
	for next := ""; ; {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
		err := s.client.List(ctx, list, client.InNamespace(s.namespace), labels, client.Limit(page), client.Continue(next))
		if err != nil {
			return nil, fmt.Errorf("listing secrets: %w", err)
		}
		all = append(all, list.Items...)
		if next = list.Continue; next == "" {
			return all, nil
		}
	}
}

// Delete implements state.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	head, err := s.headMeta(ctx, key)
	if notFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading secret %s: %w", headName(key), err)
	}
	// Only the value that was seen: a new one under the same key is somebody else's.
	err = s.client.Delete(ctx, s.named(head.Name), client.Preconditions{UID: &head.UID})
	if err != nil && !notFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting secret %s: %w", head.Name, err)
	}
	s.dropChunks(ctx, chunksOf(head))
	return nil
}

func (s *Store) headMeta(ctx context.Context, key string) (*metav1.PartialObjectMetadata, error) {
	head := &metav1.PartialObjectMetadata{}
	head.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: headName(key)}, head)
	return head, err
}

// notFound is certain: a 404 that doesn't come from the API server's own handler, such as a proxy's, is none.
func notFound(err error) bool {
	return apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

func usable(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return state.CheckKey(key)
}

// pack puts data into gzip's form, for its checksum; what is sealed isn't compressed, for that only costs time.
func pack(data []byte) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(data) + len(data)/1000 + minRoom) // as much as it takes when nothing packs
	w, err := gzip.NewWriterLevel(&b, level(data))
	if err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	if _, err := w.Write(data); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	return b.Bytes(), nil
}

func level(data []byte) int {
	if bytes.HasPrefix(data, []byte(state.Sealed)) {
		return gzip.NoCompression
	}
	return gzip.BestSpeed
}

// unpack also checks that nothing is missing: gzip ends with the length and a checksum.
func unpack(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w: %w", state.ErrDamaged, err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w: %w", state.ErrDamaged, err)
	}
	return data, nil
}
