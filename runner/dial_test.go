package runner

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
)

func TestPatient_WaitsOnlyForWhoRefuses(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	unreachable := &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}
	for _, test := range []struct {
		name    string
		answers []error
		want    error
	}{
		{"there at once", []error{nil}, nil},
		{"restarting", []error{refused, nil}, nil},
		{"nowhere", []error{unreachable}, syscall.EHOSTUNREACH},
	} {
		t.Run(test.name, func(t *testing.T) {
			tries := 0
			dial := patient(func(context.Context, string, string) (net.Conn, error) {
				tries++
				return nil, test.answers[tries-1]
			})
			if _, err := dial(t.Context(), "tcp", ""); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if tries != len(test.answers) {
				t.Errorf("it tried %d times", tries)
			}
		})
	}
}

func TestPatient_EndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dial := patient(func(context.Context, string, string) (net.Conn, error) {
		cancel()
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	})
	if _, err := dial(ctx, "tcp", ""); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}
