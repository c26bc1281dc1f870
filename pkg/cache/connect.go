package cache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// OldestRedis is the oldest supported major version, the first with ACL users. Every
// new connection is checked.
const OldestRedis = 6

// ioTimeout limits every operation. Only the projector waits for a Redis that hangs.
const ioTimeout = time.Second

// Errors that don't go away by waiting.
var (
	// ErrTooOld means that a Redis is older than OldestRedis.
	ErrTooOld = fmt.Errorf("older than version %d, which is needed", OldestRedis)
	// ErrIsCluster means that Redis is a node of a cluster, but Options.Cluster is false.
	ErrIsCluster = errors.New("it is a node of a Redis Cluster: set REDIS_CLUSTER=true")
	// ErrIsSentinel means that Redis is a Sentinel, but Options.Sentinel is empty.
	ErrIsSentinel = errors.New("it is a Redis Sentinel: set REDIS_SENTINEL to the name of the primary")
)

// Options describe the setup of Redis. The zero value is one server.
type Options struct {
	Cluster          bool   // the URL leads to nodes of a cluster
	Sentinel         string // name of the primary: the URL leads to Sentinels
	SentinelUser     string
	SentinelPassword string
	CA               string // file with the CA certificates for Redis' certificate
	Cert             string // file with a client certificate
	Key              string // file with its key
}

// discardLogger drops the log lines of go-redis, which returns all errors anyway.
type discardLogger struct{}

func (discardLogger) Printf(context.Context, string, ...any) {}

var disableDriverLog = sync.OnceFunc(func() { redis.SetLogger(discardLogger{}) })

// CheckURL returns what the driver finds wrong with a Redis URL, as the end of a
// sentence. The error contains nothing of the URL.
func CheckURL(url string) error {
	if _, _, err := parse(url); err != nil {
		return errors.New("must be a URL that the Redis driver takes, such as redis://user:password@host:6379/0")
	}
	return nil
}

// parse reads a URL with one or several hosts, separated by commas.
func parse(address string) (*redis.Options, []string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "unix" {
		options, err := redis.ParseURL(address)
		return options, nil, err
	}
	hosts := strings.Split(u.Host, ",")
	for i, host := range hosts {
		if _, _, err := net.SplitHostPort(host); err != nil {
			hosts[i] = net.JoinHostPort(strings.Trim(host, "[]"), "6379")
		}
	}
	u.Host = hosts[0]
	options, err := redis.ParseURL(u.String())
	return options, hosts, err
}

// Open returns a Cache for a redis:// URL. All keys start with prefix. It does not
// connect: an unreachable Redis gives an error at the first call.
func Open(url, prefix string) (*Cache, error) { return OpenWith(url, prefix, Options{}) }

// OpenWith is Open with Options. It also returns an error for unusable certificates.
func OpenWith(url, prefix string, access Options) (*Cache, error) {
	one, hosts, err := parse(url)
	if err != nil {
		return nil, fmt.Errorf("read Redis URL: %w", err)
	}
	if err := access.configureTLS(one); err != nil {
		return nil, fmt.Errorf("read certificates for Redis: %w", err)
	}
	disableDriverLog()
	one.DialTimeout, one.ReadTimeout, one.WriteTimeout = ioTimeout, ioTimeout, ioTimeout
	one.PoolTimeout = ioTimeout
	one.DialerRetries = 1
	one.MaxRetries = -1 // the projector retries the whole batch
	one.ContextTimeoutEnabled = true
	one.PoolSize = 4
	one.OnConnect = access.checkServer
	if !access.Cluster && access.Sentinel == "" {
		return &Cache{client: redis.NewClient(one), prefix: prefix}, nil
	}
	if one.TLSConfig != nil {
		one.TLSConfig.ServerName = "" // taken from each server's address
	}
	several := &redis.UniversalOptions{
		Addrs: hosts, DB: one.DB, Username: one.Username, Password: one.Password, TLSConfig: one.TLSConfig, OnConnect: one.OnConnect,
		DialTimeout: ioTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: ioTimeout,
		DialerRetries: 1, MaxRetries: -1, ContextTimeoutEnabled: true, PoolSize: one.PoolSize,
		MasterName: access.Sentinel, SentinelUsername: access.SentinelUser, SentinelPassword: access.SentinelPassword,
	}
	if access.Cluster {
		cluster := redis.NewClusterClient(several.Cluster())
		return &Cache{client: cluster, cluster: cluster, prefix: prefix}, nil
	}
	return &Cache{client: redis.NewFailoverClient(several.Failover()), prefix: prefix}, nil
}

// configureTLS adds the certificates to the options.
func (o Options) configureTLS(options *redis.Options) error {
	if o.CA == "" && o.Cert == "" {
		return nil
	}
	if options.TLSConfig == nil {
		return errors.New("the URL must begin with rediss://")
	}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return err
		}
		options.TLSConfig.RootCAs = x509.NewCertPool()
		if !options.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s holds no certificate", o.CA)
		}
	}
	if o.Cert != "" {
		if _, err := tls.LoadX509KeyPair(o.Cert, o.Key); err != nil {
			return err
		}
		options.TLSConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.Cert, o.Key) // read again, because it may have been renewed
			return &pair, err
		}
	}
	return nil
}

// checkServer checks the server of a new connection. If the user may not run INFO,
// the server is accepted, and later calls report what is missing.
func (o Options) checkServer(ctx context.Context, conn *redis.Conn) error {
	text, err := conn.Info(ctx, "server").Result()
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	info := fields(text)
	var major int
	if n, _ := fmt.Sscanf(info["redis_version"], "%d.", &major); n == 1 && major < OldestRedis {
		return fmt.Errorf("Redis %s: %w", info["redis_version"], ErrTooOld)
	}
	switch {
	case info["redis_mode"] == "cluster" && !o.Cluster:
		return ErrIsCluster
	case info["redis_mode"] == "sentinel" && o.Sentinel == "":
		return ErrIsSentinel
	}
	return nil
}

// fields parses the reply of INFO.
func fields(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[name] = value
	}
	return info
}

// Reason describes in a few words why Redis can't be used. The text contains no host
// and no user, so it may be shown to callers.
func Reason(err error) string {
	switch {
	case errors.Is(err, ErrTooOld):
		return fmt.Sprintf("Redis is older than %d", OldestRedis)
	case errors.Is(err, ErrIsCluster):
		return "Redis is a cluster: REDIS_CLUSTER must be true"
	case errors.Is(err, ErrIsSentinel):
		return "Redis is a Sentinel: REDIS_SENTINEL must be set"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "the certificate of Redis is not trusted"
	case errors.As(err, new(tls.RecordHeaderError)):
		return "Redis does not speak TLS on this port"
	case redis.HasErrorPrefix(err, "WRONGPASS"), redis.HasErrorPrefix(err, "NOAUTH"):
		return "Redis refuses the user or the password"
	case redis.HasErrorPrefix(err, "NOPERM"):
		return "Redis denies a right"
	case redis.HasErrorPrefix(err, "LOADING"):
		return "Redis is loading its data"
	}
	return "not reachable"
}
