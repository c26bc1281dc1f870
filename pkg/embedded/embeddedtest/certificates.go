package embeddedtest

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
)

// Certificates are the files of a test's own certificate authority.
type Certificates struct {
	CA                    string
	ServerCert, ServerKey string // for 127.0.0.1
	ClientCert, ClientKey string
}

// NewCertificates creates an authority, and a server and a client certificate signed
// by it. Every user may read the files. The certificates are valid for one hour.
func NewCertificates(t testing.TB) Certificates {
	t.Helper()
	dir := Dir(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	c := Certificates{path("ca.pem"), path("server.pem"), path("server.key"), path("client.pem"), path("client.key")}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := newKey(t)
	writePEM(t, c.CA, "CERTIFICATE", sign(t, authority, authority, key, key))
	leaf := func(number int64, name string, usage x509.ExtKeyUsage, cert, keyFile string) {
		own := newKey(t)
		der := sign(t, &x509.Certificate{
			SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: authority.NotBefore, NotAfter: authority.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		}, authority, own, key)
		writePEM(t, cert, "CERTIFICATE", der)
		private, err := x509.MarshalPKCS8PrivateKey(own)
		if err != nil {
			t.Fatalf("encode a key: %v", err)
		}
		writePEM(t, keyFile, "PRIVATE KEY", private)
	}
	leaf(2, "server", x509.ExtKeyUsageServerAuth, c.ServerCert, c.ServerKey)
	leaf(3, "client", x509.ExtKeyUsageClientAuth, c.ClientCert, c.ClientKey)
	return c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("make a key: %v", err)
	}
	return key
}

func sign(t testing.TB, cert, parent *x509.Certificate, own, signer *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &own.PublicKey, signer)
	if err != nil {
		t.Fatalf("sign a certificate: %v", err)
	}
	return der
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
}
