package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"
)

// prober asks the components whether they serve.
type prober struct{ client *http.Client }

func newProber(l layout) (prober, error) {
	admin, err := tls.LoadX509KeyPair(l.pki("admin.crt"), l.pki("admin.key"))
	if err != nil {
		return prober{}, fmt.Errorf("reading the admin's certificate: %w", err)
	}
	transport := &http.Transport{
		// The components' health ports serve with certificates that they make up at their start; nothing is sent there.
		TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, //nolint:gosec // see above
			Certificates:       []tls.Certificate{admin},
		},
		DisableKeepAlives: true,
	}
	return prober{client: &http.Client{Transport: transport}}, nil
}

func (p prober) get(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := p.client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("asking %s: %s", url, response.Status)
		}
		return nil
	}
}

func dials(socket string) func(context.Context) error {
	return func(ctx context.Context) error {
		connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}

// answersDNS asks the cluster's DNS the way a Pod does: through the Service's address, that is, through kube-proxy.
func answersDNS(ctx context.Context) error {
	resolver := &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, dnsServiceIP+":53")
		},
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	addresses, err := resolver.LookupHost(ctx, "kubernetes.default.svc."+clusterZone+".")
	if err != nil {
		return err
	}
	if len(addresses) != 1 || addresses[0] != apiServiceIP {
		return fmt.Errorf("resolving the API server's name: got %v, want %s", addresses, apiServiceIP)
	}
	return nil
}
