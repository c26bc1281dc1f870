package settings

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"regexp"
	"strings"
)

// NATSAccess holds the address of the NATS servers and the credentials.
type NATSAccess struct {
	URL    string `env:"NATS_URL" envDefault:"nats://127.0.0.1:4222" secret:"true" help:"NATS servers, separated by commas"`
	Creds  string `env:"NATS_CREDS" help:"file with the credentials of a NATS user: JWT and seed"`
	NKey   string `env:"NATS_NKEY" help:"file with the nkey seed of a NATS user"`
	CA     string `env:"NATS_CA" help:"file with the CA certificates for NATS' certificate; unset: the machine's"`
	Cert   string `env:"NATS_CERT" help:"file with a client certificate for NATS; needs NATS_KEY"`
	Key    string `env:"NATS_KEY" help:"file with the key of NATS_CERT"`
	Domain string `env:"NATS_DOMAIN" help:"JetStream domain of the streams, for services at a leaf node; unset: the server's own"`
}

// RedisAccess describes a Redis that is more than one plain server: a cluster,
// Sentinels or TLS.
type RedisAccess struct {
	Cluster          bool   `env:"REDIS_CLUSTER" envDefault:"false" help:"true: REDIS_URL names nodes of a Redis Cluster, redis://user:password@host:port,host:port"`
	Sentinel         string `env:"REDIS_SENTINEL" help:"name of the primary, if REDIS_URL names Redis Sentinels, redis://user:password@host:port,host:port; user and password are the primary's"`
	SentinelUser     string `env:"REDIS_SENTINEL_USER" help:"user of the Sentinels themselves"`
	SentinelPassword string `env:"REDIS_SENTINEL_PASSWORD" secret:"true" help:"password of the Sentinels themselves"`
	CA               string `env:"REDIS_CA" help:"file with the CA certificates for a rediss:// URL; unset: the machine's"`
	Cert             string `env:"REDIS_CERT" help:"file with a client certificate for Redis; needs REDIS_KEY"`
	Key              string `env:"REDIS_KEY" help:"file with the key of REDIS_CERT"`
}

// settingNames returns the names of the block's environment variables.
func (RedisAccess) settingNames() []string {
	var names []string
	for _, f := range fieldsOf(structOf(&RedisAccess{}), "") {
		names = append(names, f.variable.Name)
	}
	return names
}

// validate returns the validation errors of the block together with the URL.
func (a RedisAccess) validate(address string) []error {
	errs := []error{validCA("REDIS_CA", a.CA), validPair("REDIS_CERT", a.Cert, "REDIS_KEY", a.Key)}
	u, err := url.Parse(address)
	if err != nil {
		return errs
	}
	switch {
	case a.Cluster && a.Sentinel != "":
		errs = append(errs, Invalid("REDIS_SENTINEL", a.Sentinel, "can't be used with REDIS_CLUSTER"))
	case a.Cluster && strings.Trim(u.Path, "/0") != "":
		errs = append(errs, Invalid("REDIS_CLUSTER", a.Cluster, "needs database 0 in REDIS_URL: a cluster has no other"))
	case !a.Cluster && a.Sentinel == "" && strings.Contains(u.Host, ","):
		errs = append(errs, Invalid("REDIS_URL", Hidden, "must have one host, unless REDIS_CLUSTER or REDIS_SENTINEL is set"))
	case u.Scheme == "unix" && (a.Cluster || a.Sentinel != ""):
		errs = append(errs, Invalid("REDIS_URL", Hidden, "must not be a socket with REDIS_CLUSTER or REDIS_SENTINEL"))
	}
	if a.Sentinel == "" && a.SentinelUser+a.SentinelPassword != "" {
		errs = append(errs, Invalid("REDIS_SENTINEL", "", "must be set when REDIS_SENTINEL_USER or REDIS_SENTINEL_PASSWORD is"))
	}
	if u.Scheme != "rediss" && a.CA+a.Cert != "" {
		errs = append(errs, Invalid("REDIS_URL", Hidden, "must begin with rediss:// when REDIS_CA or REDIS_CERT is set"))
	}
	return errs
}

// domainPattern matches one token of a subject.
var domainPattern = regexp.MustCompile(`^[^\s.*>]+$`)

// validate returns the validation errors of all fields except the URL.
func (a NATSAccess) validate() []error {
	errs := []error{
		validFile("NATS_CREDS", a.Creds, "BEGIN NATS USER JWT", "must be a file with a user's JWT and seed, as nsc makes it"),
		validFile("NATS_NKEY", a.NKey, "SU", "must be a file with the seed of a user, which begins with SU"),
		validCA("NATS_CA", a.CA),
		validPair("NATS_CERT", a.Cert, "NATS_KEY", a.Key),
	}
	if a.Creds != "" && a.NKey != "" {
		errs = append(errs, Invalid("NATS_NKEY", a.NKey, "can't be used with NATS_CREDS"))
	}
	if a.Domain != "" && !domainPattern.MatchString(a.Domain) {
		errs = append(errs, Invalid("NATS_DOMAIN", a.Domain, "must be one word, without dots, wildcards and blanks"))
	}
	return errs
}

// validFile returns a validation error if the file can't be read or does not
// contain holds.
func validFile(variable, path, holds, must string) error {
	if path == "" {
		return nil
	}
	content, err := os.ReadFile(path)
	switch {
	case err != nil:
		return Invalid(variable, path, "can't be read: "+withoutPath(err))
	case !bytes.Contains(content, []byte(holds)):
		return Invalid(variable, path, must)
	}
	return nil
}

// validCA returns a validation error if the file contains no certificate.
func validCA(variable, path string) error {
	if path == "" {
		return nil
	}
	content, err := os.ReadFile(path)
	switch {
	case err != nil:
		return Invalid(variable, path, "can't be read: "+withoutPath(err))
	case !x509.NewCertPool().AppendCertsFromPEM(content):
		return Invalid(variable, path, "must be a file with PEM certificates")
	}
	return nil
}

// validPair returns a validation error if a certificate and its key don't fit.
func validPair(certVariable, cert, keyVariable, key string) error {
	switch {
	case cert == "" && key == "":
		return nil
	case key == "":
		return Invalid(keyVariable, key, "must be set when "+certVariable+" is")
	case cert == "":
		return Invalid(certVariable, cert, "must be set when "+keyVariable+" is")
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		return Invalid(certVariable, cert, "can't be used with "+keyVariable+": "+withoutPath(err))
	}
	return nil
}

// withoutPath returns the text of a file error without the path, which the
// validation error already shows.
func withoutPath(err error) string {
	return strings.TrimPrefix(reason(err).Error(), "tls: ")
}
