package sender

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/service"
)

// certificates are what WEBHOOK_CERT, WEBHOOK_KEY and WEBHOOK_CA hold; each
// may be empty.
type certificates struct{ cert, key, ca []byte }

// readCertificates reads the files that a configuration names.
func readCertificates(cfg Config) (certificates, error) {
	var c certificates
	var errs []error
	for _, f := range []struct {
		variable, path string
		into           *[]byte
	}{{"WEBHOOK_CERT", cfg.WebhookCert, &c.cert}, {"WEBHOOK_KEY", cfg.WebhookKey, &c.key}, {"WEBHOOK_CA", cfg.WebhookCA, &c.ca}} {
		if f.path == "" {
			continue
		}
		text, err := os.ReadFile(f.path)
		var at *os.PathError
		switch {
		case errors.As(err, &at):
			errs = append(errs, service.Invalid(f.variable, f.path, "can't be read: "+at.Err.Error()))
		case err != nil:
			errs = append(errs, service.Invalid(f.variable, f.path, "can't be read"))
		}
		*f.into = text
	}
	return c, errors.Join(errs...)
}

// config returns what TLS makes of the files, or every mistake in them. It
// never repeats what is in a file.
func (c certificates) config(cfg Config) (*tls.Config, error) {
	var errs []error
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.WebhookCert != "" && cfg.WebhookKey != "" {
		pair, err := tls.X509KeyPair(c.cert, c.key)
		switch {
		case err == nil:
			config.Certificates = []tls.Certificate{pair}
		case encrypted(c.key):
			errs = append(errs, service.Invalid("WEBHOOK_KEY", cfg.WebhookKey, "must not be encrypted"))
		default:
			errs = append(errs, service.Invalid("WEBHOOK_CERT", cfg.WebhookCert, "does not go with WEBHOOK_KEY: "+err.Error()))
		}
	}
	if cfg.WebhookCA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(c.ca) {
			errs = append(errs, service.Invalid("WEBHOOK_CA", cfg.WebhookCA, "must hold certificates in PEM"))
		}
	}
	return config, errors.Join(errs...)
}

func encrypted(key []byte) bool {
	block, _ := pem.Decode(key)
	return block != nil && (block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "")
}

func (c certificates) equal(other certificates) bool {
	return bytes.Equal(c.cert, other.cert) && bytes.Equal(c.key, other.key) && bytes.Equal(c.ca, other.ca)
}

// reloadEvery is how often the files are looked at while requests are made.
const reloadEvery = time.Second

// reloading is a road to a webhook with certificates from files. Those that
// have changed are used for new connections, and connections with the old ones
// are closed as soon as they carry no request.
type reloading struct {
	cfg   Config
	log   *zap.Logger
	build func(*tls.Config) http.RoundTripper
	every time.Duration

	mu      sync.Mutex
	looked  time.Time
	read    certificates // when they were looked at last
	current http.RoundTripper
}

// newReloading reads the files, which Validate has checked.
func newReloading(cfg Config, log *zap.Logger, build func(*tls.Config) http.RoundTripper) (*reloading, error) {
	read, err := readCertificates(cfg)
	if err != nil {
		return nil, err
	}
	config, err := read.config(cfg)
	if err != nil {
		return nil, err
	}
	return &reloading{cfg: cfg, log: log, build: build, every: reloadEvery, looked: time.Now(), read: read, current: build(config)}, nil
}

// RoundTrip makes a request with the certificates of the moment.
func (r *reloading) RoundTrip(request *http.Request) (*http.Response, error) {
	return r.latest().RoundTrip(request)
}

// CloseIdleConnections closes the connections that carry no request.
func (r *reloading) CloseIdleConnections() {
	r.mu.Lock()
	defer r.mu.Unlock()
	closeIdle(r.current)
}

// latest looks for changed files. While they are of no use, for example
// because only one of two is written yet, the certificates before stay.
func (r *reloading) latest() http.RoundTripper {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looked) < r.every {
		return r.current
	}
	r.looked = time.Now()
	read, err := readCertificates(r.cfg)
	if err == nil && read.equal(r.read) {
		return r.current
	}
	var config *tls.Config
	if err == nil {
		r.read = read
		config, err = read.config(r.cfg)
	}
	if err != nil {
		r.log.Warn("changed certificates can't be used; the ones before stay in use", zap.String("error", service.Redact(err.Error())))
		return r.current
	}
	closeIdle(r.current)
	r.current = r.build(config)
	r.log.Info("using changed certificates for the webhook")
	return r.current
}

func closeIdle(t http.RoundTripper) {
	if t, ok := t.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}
