//go:build integration

package open

import (
	"fmt"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/realservers"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/statetest"
)

const (
	// tornSize is what a store sends in one piece; tornPoints is at how many bytes it is cut.
	tornSize   = 200 << 10
	tornPoints = 60
)

func TestPromisesOverPostgres(t *testing.T) {
	server, err := realservers.StartPostgres(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, server.Stop)
	address := func(t *testing.T) string {
		t.Helper()
		return fmt.Sprintf("%s&passwordfile=%s&table=store_%d",
			server.URL(realservers.Superuser, ""), file(t, server.Password), number.Add(1))
	}
	closing := func(t *testing.T, address string) state.Store {
		t.Helper()
		store := opened(t, address)
		t.Cleanup(store.(interface{ Close() }).Close)
		return store
	}
	statetest.Run(t, 4, func(t *testing.T) state.Store { return closing(t, address(t)) })
	t.Run("writes that are cut", func(t *testing.T) {
		line, direct := statetest.NewLine(t, server.Host), address(t)
		statetest.Torn(t, statetest.Cuts{
			Line: line, Direct: closing(t, direct), Through: closing(t, strings.Replace(direct, server.Host, line.Address(), 1)),
			Size: tornSize, Points: tornPoints,
		})
	})
}

func TestPromisesOverS3(t *testing.T) {
	server, err := realservers.StartS3(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, server.Stop)
	credentials(t, server.AccessKey, server.SecretKey)
	address := func(t *testing.T) string {
		t.Helper()
		bucket := fmt.Sprintf("bucket-%d", number.Add(1))
		if err := server.Bucket(bucket); err != nil {
			t.Fatal(err)
		}
		return server.URL(bucket)
	}
	statetest.Run(t, 2, func(t *testing.T) state.Store { return opened(t, address(t)) })
	t.Run("writes that are cut", func(t *testing.T) {
		host := strings.TrimPrefix(server.Endpoint, "http://")
		line, direct := statetest.NewLine(t, host), address(t)
		through := strings.Replace(direct, strings.ReplaceAll(host, ":", "%3A"),
			strings.ReplaceAll(line.Address(), ":", "%3A"), 1)
		statetest.Torn(t, statetest.Cuts{
			Line: line, Direct: opened(t, direct), Through: opened(t, through), Size: tornSize, Points: tornPoints,
		})
	})
}
