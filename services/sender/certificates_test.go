package sender

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
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
