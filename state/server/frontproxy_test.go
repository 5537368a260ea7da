package server

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// clientCert is one that may be used by clients.
func clientCert(t *testing.T, ca pair, name string, usage x509.ExtKeyUsage) pair {
	t.Helper()
	return must[pair](t)(sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}, ca))
}

func proxyConfigOf(ca pair) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: proxyConfigMap.Namespace, Name: proxyConfigMap.Name},
		Data: map[string]string{
			"requestheader-client-ca-file":       string(encodeCert(ca.cert)),
			"requestheader-allowed-names":        `["front-proxy-client"]`,
			"requestheader-username-headers":     `["X-Remote-User"]`,
			"requestheader-group-headers":        `["X-Remote-Group"]`,
			"requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`,
		},
	}
}

func frontProxy(objects ...client.Object) (*FrontProxy, client.Client, *clocktesting.FakeClock) {
	clk := clocktesting.NewFakeClock(start)
	c := fake.NewClientBuilder().WithObjects(objects...).Build()
	return NewFrontProxy(c, clk), c, clk
}

func asUser(user string, certs ...pair) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-Remote-User", user)
	r.TLS = &tls.ConnectionState{}
	for _, c := range certs {
		r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, c.cert)
	}
	return r
}

func TestFrontProxy(t *testing.T) {
	ca, foreign := must[pair](t)(newCA(start)), must[pair](t)(newCA(start))
	const name, forClients = "front-proxy-client", x509.ExtKeyUsageClientAuth
	good, strange := clientCert(t, ca, name, forClients), clientCert(t, foreign, name, forClients)
	f, _, clk := frontProxy(proxyConfigOf(ca))
	for name, test := range map[string]struct {
		request *http.Request
		want    error
	}{
		"the API server":         {asUser("alice", good), nil},
		"with its CA":            {asUser("alice", good, ca), nil},
		"no TLS":                 {&http.Request{Header: http.Header{"X-Remote-User": {"alice"}}}, ErrUnauthenticated},
		"no certificate":         {asUser("alice"), ErrUnauthenticated},
		"another CA":             {asUser("alice", strange), ErrUnauthenticated},
		"another CA in front":    {asUser("alice", strange, good), ErrUnauthenticated},
		"another name":           {asUser("alice", clientCert(t, ca, "somebody", forClients)), ErrUnauthenticated},
		"a server's certificate": {asUser("alice", clientCert(t, ca, name, x509.ExtKeyUsageServerAuth)), ErrUnauthenticated},
		"the CA's own":           {asUser("alice", ca), ErrUnauthenticated},
		"nobody":                 {asUser("", good), ErrUnauthenticated},
	} {
		user, err := f.Person(t.Context(), test.request)
		if !matchesErr(err, test.want) || (err != nil) != (user.Username == "") {
			t.Errorf("%s: got %q, %v; want %v", name, user.Username, err, test.want)
		}
	}
	clk.Step(2 * time.Hour)
	if _, err := f.Person(t.Context(), asUser("alice", good)); !matchesErr(err, ErrUnauthenticated) {
		t.Errorf("an expired certificate: got %v", err)
	}
}

func TestFrontProxyReadsWhoItIs(t *testing.T) {
	ca := must[pair](t)(newCA(start))
	f, _, _ := frontProxy(proxyConfigOf(ca))
	r := asUser("alice", clientCert(t, ca, "front-proxy-client", x509.ExtKeyUsageClientAuth))
	r.Header.Add("X-Remote-Group", "devs")
	r.Header.Add("X-Remote-Group", "system:authenticated")
	r.Header.Add("X-Remote-Extra-Example.org%2fScopes", "read")
	r.Header.Add("Impersonate-User", "root")
	got, err := f.Person(t.Context(), r)
	want := authenticationv1.UserInfo{
		Username: "alice", Groups: []string{"devs", "system:authenticated"},
		Extra: map[string]authenticationv1.ExtraValue{"example.org/scopes": {"read"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// The API server's CA is replaced while this server runs.
func TestFrontProxyFollowsTheCluster(t *testing.T) {
	before, after := must[pair](t)(newCA(start)), must[pair](t)(newCA(start))
	cert := clientCert(t, after, "front-proxy-client", x509.ExtKeyUsageClientAuth)
	f, c, clk := frontProxy(proxyConfigOf(before))
	if _, err := f.Person(t.Context(), asUser("alice", cert)); !matchesErr(err, ErrUnauthenticated) {
		t.Fatalf("before: got %v", err)
	}
	if err := c.Update(t.Context(), proxyConfigOf(after)); err != nil {
		t.Fatal(err)
	}
	clk.Step(rereadProxySooner)
	if _, err := f.Person(t.Context(), asUser("alice", cert)); err != nil {
		t.Errorf("after: %v", err)
	}
	if err := c.Delete(t.Context(), proxyConfigOf(after)); err != nil {
		t.Fatal(err)
	}
	clk.Step(rereadProxy)
	if _, err := f.Person(t.Context(), asUser("alice", cert)); err != nil {
		t.Errorf("while it can't be read, what was read counts: %v", err)
	}
	for name, other := range map[string][]client.Object{
		"no ConfigMap": nil, "no CA": {&corev1.ConfigMap{ObjectMeta: proxyConfigOf(after).ObjectMeta}},
	} {
		f, _, _ := frontProxy(other...)
		if _, err := f.Person(t.Context(), asUser("alice", cert)); err == nil {
			t.Errorf("%s: somebody is trusted", name)
		}
	}
}
