package sender

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
			w := hookTo(t, server.URL, func(c *Config) {
				c.WebhookCert, c.WebhookKey, c.WebhookCA, c.ExternalID = f.cert, f.key, f.ca, "header:X-Client"
			})
			w.transport.(*reloading).every = 0 // looks at the files for each request
			client := func() string {
				a := w.attempt(t.Context(), testMessage(), 1)
				require.Equal(t, succeeded, a.verdict, a.text)
				return a.externalID
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
			a := w.attempt(t.Context(), testMessage(), 1)
			require.Equal(t, retryable, a.verdict)
			require.Contains(t, a.text, "TLS: ")
			require.True(t, a.unreached)
			write(t, f.ca, own.pem)
			require.Equal(t, "second", client())
		})
	}
}

func TestAMissingOrWrongCertificateIsNamed(t *testing.T) {
	t.Parallel()
	own, clients := newAuthority(t), newAuthority(t)
	for name, configure := range map[string]func(*Config, files){
		"none": func(*Config, files) {},
		"from another authority": func(c *Config, f files) {
			cert, key := own.issue(t, "stranger")
			write(t, f.cert, cert)
			write(t, f.key, key)
			c.WebhookCert, c.WebhookKey = f.cert, f.key
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFiles(t)
			write(t, f.ca, own.pem)
			w := hookTo(t, asking(t, own, clients, false).URL, func(c *Config) {
				c.WebhookCA = f.ca
				configure(c, f)
			})
			a := w.attempt(t.Context(), testMessage(), 1)
			require.Equal(t, retryable, a.verdict)
			require.Contains(t, a.text, "WEBHOOK_CERT")
			require.True(t, a.unreached, "the webhook has not read the request")
		})
	}
}

func TestMistakesInCertificatesAreReported(t *testing.T) {
	t.Parallel()
	f, a := newFiles(t), newAuthority(t)
	cert, key := a.issue(t, "x")
	_, other := a.issue(t, "y")
	locked := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("s3cret")})
	write(t, f.cert, cert)
	for name, c := range map[string]struct {
		key, ca  []byte
		settings []string
		want     []string
	}{
		"none":             {key, a.pem, []string{"WEBHOOK_CERT", f.cert, "WEBHOOK_KEY", f.key, "WEBHOOK_CA", f.ca}, nil},
		"only a CA":        {key, a.pem, []string{"WEBHOOK_CA", f.ca}, nil},
		"no key":           {key, a.pem, []string{"WEBHOOK_CERT", f.cert}, []string{"WEBHOOK_CERT", "together with WEBHOOK_KEY"}},
		"no certificate":   {key, a.pem, []string{"WEBHOOK_KEY", f.key}, []string{"WEBHOOK_CERT", "together with WEBHOOK_KEY"}},
		"another key":      {other, a.pem, []string{"WEBHOOK_CERT", f.cert, "WEBHOOK_KEY", f.key}, []string{"WEBHOOK_CERT", "does not go with"}},
		"an encrypted key": {locked, a.pem, []string{"WEBHOOK_CERT", f.cert, "WEBHOOK_KEY", f.key}, []string{"WEBHOOK_KEY", "encrypted"}},
		"no CA in it":      {key, key, []string{"WEBHOOK_CA", f.ca}, []string{"WEBHOOK_CA", "PEM"}},
		"no files": {
			key, a.pem,
			[]string{"WEBHOOK_CERT", f.cert + "x", "WEBHOOK_KEY", f.key + "x", "WEBHOOK_CA", f.ca + "x"},
			[]string{"WEBHOOK_CERT", "WEBHOOK_KEY", "WEBHOOK_CA", "no such file"},
		},
		"no TLS": {key, a.pem, []string{"WEBHOOK_CA", f.ca, "WEBHOOK_URL", "http://example.org"}, []string{"WEBHOOK_URL", "https"}},
	} {
		write(t, f.key, c.key)
		write(t, f.ca, c.ca)
		err := parsed(c.settings...)
		if c.want == nil {
			require.NoError(t, err, name)
			continue
		}
		for _, text := range c.want {
			require.ErrorContains(t, err, text, name)
		}
		require.NotContains(t, err.Error(), "s3cret")
	}
}
