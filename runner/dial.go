package runner

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// dialPatience is how long a connection is tried for, dialPause how long between two tries.
	dialPatience = 30 * time.Second
	dialPause    = 500 * time.Millisecond
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// patient waits for an API server that refuses connections, as one does that restarts. Watches that fail are set up
// again after a backoff that grows to a minute: for so long nothing would happen when the API server has come back.
func patient(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var conn net.Conn
		var last error
		err := wait.PollUntilContextTimeout(ctx, dialPause, dialPatience, true, func(ctx context.Context) (bool, error) {
			conn, last = dial(ctx, network, address)
			return !errors.Is(last, syscall.ECONNREFUSED), nil
		})
		if last != nil {
			return nil, last
		}
		return conn, err
	}
}
