package cluster

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

func TestATakenPortIsSeen(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := checkAddress(t.Context(), address); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("checkAddress of a taken port = %v, want EADDRINUSE", err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := checkAddress(t.Context(), address); err != nil {
		t.Errorf("checkAddress of a free port = %v", err)
	}
}

// TestAPortTakenOnAllAddressesIsSeen is why ports of the bridge are tried on a loopback address.
func TestAPortTakenOnAllAddressesIsSeen(t *testing.T) {
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := checkAddress(t.Context(), "127.0.0.9:"+port); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("checkAddress = %v, want EADDRINUSE", err)
	}
}
