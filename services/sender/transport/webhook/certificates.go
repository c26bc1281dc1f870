package webhook

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/redact"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Certificates names files in PEM; each may be empty.
type Certificates struct {
	Cert string `env:"WEBHOOK_CERT" help:"PEM file with the client certificate for an https webhook and its chain; this file and the next two are read again when they change"`
	Key  string `env:"WEBHOOK_KEY" help:"PEM file with the key of WEBHOOK_CERT, not encrypted"`
	CA   string `env:"WEBHOOK_CA" help:"PEM file with the CAs for the webhook's certificate, in place of the system's"`
}

func (c Certificates) empty() bool { return c == Certificates{} }

// Validate reads the files and reports every mistake in them, by the name of
// the setting. It never repeats what is in a file.
func (c Certificates) Validate() error {
	if c.empty() {
		return nil
	}
	var errs []error
	if (c.Cert == "") != (c.Key == "") {
		errs = append(errs, settings.Invalid("WEBHOOK_CERT", c.Cert, "must be set together with WEBHOOK_KEY"))
	}
	contents, err := c.read()
	if err == nil {
		_, err = contents.config(c)
	}
	return errors.Join(append(errs, err)...)
}

// fileContents are the contents of the files that Certificates names.
type fileContents struct{ cert, key, ca []byte }

func (c Certificates) read() (fileContents, error) {
	var contents fileContents
	var errs []error
	for _, f := range []struct {
		setting, path string
		into          *[]byte
	}{{"WEBHOOK_CERT", c.Cert, &contents.cert}, {"WEBHOOK_KEY", c.Key, &contents.key}, {"WEBHOOK_CA", c.CA, &contents.ca}} {
		if f.path == "" {
			continue
		}
		text, err := os.ReadFile(f.path)
		var at *os.PathError
		switch {
		case errors.As(err, &at):
			errs = append(errs, settings.Invalid(f.setting, f.path, "can't be read: "+at.Err.Error()))
		case err != nil:
			errs = append(errs, settings.Invalid(f.setting, f.path, "can't be read"))
		}
		*f.into = text
	}
	return contents, errors.Join(errs...)
}

// config returns the TLS configuration that the files make, or every mistake
// in them.
func (f fileContents) config(names Certificates) (*tls.Config, error) {
	var errs []error
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if names.Cert != "" && names.Key != "" {
		pair, err := tls.X509KeyPair(f.cert, f.key)
		switch {
		case err == nil:
			config.Certificates = []tls.Certificate{pair}
		case isEncrypted(f.key):
			errs = append(errs, settings.Invalid("WEBHOOK_KEY", names.Key, "must not be encrypted"))
		default:
			errs = append(errs, settings.Invalid("WEBHOOK_CERT", names.Cert, "does not go with WEBHOOK_KEY: "+err.Error()))
		}
	}
	if names.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(f.ca) {
			errs = append(errs, settings.Invalid("WEBHOOK_CA", names.CA, "must hold certificates in PEM"))
		}
	}
	return config, errors.Join(errs...)
}

func isEncrypted(key []byte) bool {
	block, _ := pem.Decode(key)
	return block != nil && (block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "")
}

func (f fileContents) equal(other fileContents) bool {
	return bytes.Equal(f.cert, other.cert) && bytes.Equal(f.key, other.key) && bytes.Equal(f.ca, other.ca)
}

// reloadInterval is how often the files are read while requests are made.
const reloadInterval = time.Second

// certificateFiles notices changes of files. It is safe for concurrent use.
type certificateFiles struct {
	names    Certificates
	log      *zap.Logger
	interval time.Duration

	mu     sync.Mutex
	readAt time.Time
	read   fileContents
}

// newCertificateFiles reads the files, which Validate has checked, and returns
// their TLS configuration.
func newCertificateFiles(names Certificates, log *zap.Logger) (*certificateFiles, *tls.Config, error) {
	contents, err := names.read()
	if err != nil {
		return nil, nil, err
	}
	config, err := contents.config(names)
	if err != nil {
		return nil, nil, err
	}
	return &certificateFiles{names: names, log: log, interval: reloadInterval, readAt: time.Now(), read: contents}, config, nil
}

// changed reads the files if the interval has passed, and returns the TLS
// configuration if they have changed. While the files are unusable, for example
// because only one of two is written yet, the previous configuration stays in
// use.
func (f *certificateFiles) changed(now time.Time) (*tls.Config, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.readAt) < f.interval {
		return nil, false
	}
	f.readAt = now
	contents, err := f.names.read()
	if err == nil && contents.equal(f.read) {
		return nil, false
	}
	var config *tls.Config
	if err == nil {
		f.read = contents
		config, err = contents.config(f.names)
	}
	if err != nil {
		f.log.Warn("changed certificates can't be used; the previous ones stay in use", zap.String("error", redact.Text(err.Error())))
		return nil, false
	}
	f.log.Info("using changed certificates for the webhook")
	return config, true
}
