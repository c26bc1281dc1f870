package webhook

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue returns a certificate for 127.0.0.1 and its key, in PEM.
func (a authority) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// files are what WEBHOOK_CERT, WEBHOOK_KEY and WEBHOOK_CA name.
type files struct{ cert, key, ca string }

func newFiles(t *testing.T) files {
	t.Helper()
	dir := t.TempDir()
	return files{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, text, 0o600))
}

// asking is a receiver that has a certificate from one authority and wants one
// from another. It answers with the name in that.
func asking(t *testing.T, own, clients authority, http2 bool) *httptest.Server {
	t.Helper()
	cert, key := own.issue(t, "receiver")
	pair, err := tls.X509KeyPair(cert, key)
	require.NoError(t, err)
	accepted := x509.NewCertPool()
	accepted.AddCert(clients.cert)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Client", r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: accepted, MinVersion: tls.VersionTLS12}
	server.EnableHTTP2 = http2
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func withFiles(t *testing.T, at string, names Certificates) *target {
	t.Helper()
	client, err := NewClient(Options{MaxIdleConns: 8, Certificates: names, Log: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	c := newTarget(t, at)
	c.client = client
	return c
}

func TestAWebhookThatAsksForACertificateGetsIt(t *testing.T) {
	t.Parallel()
	own, clients := newAuthority(t), newAuthority(t)
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, f := asking(t, own, clients, http2), newFiles(t)
			cert, key := clients.issue(t, "first")
			write(t, f.cert, cert)
			write(t, f.key, key)
			write(t, f.ca, own.pem)
			c := withFiles(t, server.URL, Certificates{Cert: f.cert, Key: f.key, CA: f.ca})
			c.client.files.interval = 0 // read the files for each request
			client := func() string {
				a := c.send(t.Context())
				require.True(t, a.delivered(), a.text)
				return a.header.Get("X-Client")
			}
			require.Equal(t, "first", client())

			cert, key = clients.issue(t, "second")
			write(t, f.cert, cert)
			require.Equal(t, "first", client(), "until its key is there as well")
			write(t, f.key, key)
			require.Equal(t, "second", client())

			require.NoError(t, os.Remove(f.cert))
			require.Equal(t, "second", client(), "as long as there is no other")

			write(t, f.cert, cert)
			write(t, f.ca, clients.pem)
			a := c.send(t.Context())
			require.Zero(t, a.status)
			require.Contains(t, a.text, "TLS: ")
			require.True(t, a.notSent)
			write(t, f.ca, own.pem)
			require.Equal(t, "second", client())
		})
	}
}

func TestAMissingOrWrongCertificateIsNamed(t *testing.T) {
	t.Parallel()
	own, clients := newAuthority(t), newAuthority(t)
	for name, configure := range map[string]func(*Certificates, files){
		"none": func(*Certificates, files) {},
		"from another authority": func(c *Certificates, f files) {
			cert, key := own.issue(t, "stranger")
			write(t, f.cert, cert)
			write(t, f.key, key)
			c.Cert, c.Key = f.cert, f.key
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFiles(t)
			write(t, f.ca, own.pem)
			names := Certificates{CA: f.ca}
			configure(&names, f)
			c := withFiles(t, asking(t, own, clients, false).URL, names)
			a := c.send(t.Context())
			require.Zero(t, a.status)
			require.Contains(t, a.text, "WEBHOOK_CERT")
			require.True(t, a.notSent, "the webhook has not read the request")
		})
	}
}
