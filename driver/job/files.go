package job

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// DigestFiles is the digest of the Secret that a Run is given, by its keys: the Spec and the files. Equal data, equal
// digest. The controller puts it into the Params, and the driver compares what is mounted with it before it uses any of
// it: who may write Secrets must not decide what runs under a Workspace's identity.
func DigestFiles(data map[string][]byte) string {
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(data)) {
		_, _ = fmt.Fprintf(h, "%d %s %d ", len(key), key, len(data[key])) // a hash never fails to write
		h.Write(data[key])
	}
	return hex.EncodeToString(h.Sum(nil))
}
