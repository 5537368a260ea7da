package kube

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	annotationKey = "plumbline.dev/store-key"
	// annotationChunks of a head is <attempt>/<count>.
	annotationChunks = "plumbline.dev/store-chunks"
	labelPart        = "plumbline.dev/store-part"
	partHead         = "head"
	partChunk        = "chunk"
	// folderPrefix begins the labels that say in which folders a key lies.
	folderPrefix = "folder.plumbline.dev/"
	// maxFolders bounds how many folders of a deep key become labels.
	maxFolders = 4
	dataKey    = "value"
	secretType = "plumbline.dev/store"
)

// chunkSet names the chunks of one attempt to write a value. Each attempt has its own, so that two writers of one key
// never mix.
type chunkSet struct {
	attempt string
	names   []string
}

func newChunkSet(key string, size int) chunkSet {
	attempt := strings.ToLower(rand.Text()[:12])
	return chunkSetOf(headName(key), attempt, (size+maxChunk-1)/maxChunk)
}

func chunkSetOf(head, attempt string, count int) chunkSet {
	c := chunkSet{attempt: attempt, names: make([]string, count)}
	for i := range c.names {
		c.names[i] = fmt.Sprintf("%s-%s-%d", head, attempt, i)
	}
	return c
}

// chunksOf reads which chunks a head names; none when its value fits in itself.
func chunksOf(head client.Object) chunkSet {
	attempt, count, _ := strings.Cut(head.GetAnnotations()[annotationChunks], "/")
	n, err := strconv.Atoi(count)
	if err != nil {
		return chunkSet{}
	}
	return chunkSetOf(head.GetName(), attempt, n)
}

// attemptOf tells to which head and attempt a chunk belongs, by its name.
func attemptOf(chunk string) string {
	return chunk[:max(0, strings.LastIndex(chunk, "-"))]
}

// headName is valid as a Secret's name whatever the key is made of.
func headName(key string) string { return "plumbline-store-" + hash(key) }

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:20])
}

// headLabels selects at least every head whose key begins with the prefix.
func headLabels(prefix string) client.MatchingLabels {
	labels := client.MatchingLabels{labelPart: partHead}
	if f := folders(prefix); len(f) > 0 {
		labels[folderPrefix+f[len(f)-1]] = ""
	}
	return labels
}

// folders hashes the folders that a key, or a prefix, lies in, from the outermost on.
func folders(key string) []string {
	var all []string
	for i := range len(key) {
		if key[i] == '/' && len(all) < maxFolders {
			all = append(all, hash(key[:i]))
		}
	}
	return all
}

func (s *Store) named(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
}

func (s *Store) newSecret(key, name, part string) *corev1.Secret {
	secret := s.named(name)
	secret.Labels = map[string]string{
		"app.kubernetes.io/name": "plumbline", "app.kubernetes.io/component": "state", labelPart: part,
	}
	secret.Annotations = map[string]string{annotationKey: key}
	secret.Type = secretType
	secret.Immutable = new(true)
	return secret
}

func (s *Store) newHead(key string, packed []byte) *corev1.Secret {
	head := s.newSecret(key, headName(key), partHead)
	for _, f := range folders(key) {
		head.Labels[folderPrefix+f] = ""
	}
	if packed != nil {
		head.Data = map[string][]byte{dataKey: packed}
	}
	return head
}

func (s *Store) newChunkedHead(key string, chunks chunkSet) *corev1.Secret {
	head := s.newHead(key, nil)
	head.Annotations[annotationChunks] = fmt.Sprintf("%s/%d", chunks.attempt, len(chunks.names))
	return head
}

func (s *Store) newChunk(key, name string, data []byte) *corev1.Secret {
	chunk := s.newSecret(key, name, partChunk)
	chunk.Data = map[string][]byte{dataKey: data}
	return chunk
}
