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

// OldestRedis is the oldest major version that the copy works with: the first
// with users of their own. Every new connection is checked.
const OldestRedis = 6

// patience is how long Redis may take for anything. Waiting for one that is
// frozen costs the copier alone.
const patience = time.Second

// What keeps the copy from working with a Redis, however long it waits.
var (
	// ErrTooOld means that a Redis is older than OldestRedis.
	ErrTooOld = fmt.Errorf("older than version %d, which is needed", OldestRedis)
	// ErrIsCluster means that a Redis is a node of a cluster, and nobody said so.
	ErrIsCluster = errors.New("it is a node of a Redis Cluster: set REDIS_CLUSTER=true")
	// ErrIsSentinel means that a Redis is a Sentinel, and nobody said so.
	ErrIsSentinel = errors.New("it is a Redis Sentinel: set REDIS_SENTINEL to the name of the primary")
)

// Options say how Redis is set up. The zero value is one server.
type Options struct {
	Cluster          bool   // the URL leads to nodes of a cluster
	Sentinel         string // name of the primary: the URL leads to Sentinels
	SentinelUser     string
	SentinelPassword string
	CA               string // file with the certificates that Redis' is checked by
	Cert             string // file with a client certificate
	Key              string // file with its key
}

// quiet drops go-redis' own log lines: every error is returned, too.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

var silence = sync.OnceFunc(func() { redis.SetLogger(quiet{}) })

// CheckURL returns what the driver finds wrong with a Redis URL, as the end of
// a sentence that begins with its name. It repeats nothing of it.
func CheckURL(url string) error {
	if _, _, err := parse(url); err != nil {
		return errors.New("must be a URL that the Redis driver takes, such as redis://user:password@host:6379/0")
	}
	return nil
}

// parse reads a URL of one or several hosts, which are separated by commas.
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

// Open returns a Cache for a redis:// URL whose keys start with prefix. It
// does not connect: a Redis that is away shows at the first call.
func Open(url, prefix string) (*Cache, error) { return OpenWith(url, prefix, Options{}) }

// OpenWith is Open for a Redis that is set up in another way.
func OpenWith(url, prefix string, access Options) (*Cache, error) {
	one, hosts, err := parse(url)
	if err != nil {
		return nil, fmt.Errorf("read Redis URL: %w", err)
	}
	if err := access.secure(one); err != nil {
		return nil, fmt.Errorf("read certificates for Redis: %w", err)
	}
	silence()
	one.DialTimeout, one.ReadTimeout, one.WriteTimeout = patience, patience, patience
	one.PoolTimeout = patience
	one.DialerRetries = 1
	one.MaxRetries = -1 // the copier tries again, from the beginning of the batch
	one.ContextTimeoutEnabled = true
	one.PoolSize = 4
	one.OnConnect = access.examine
	if !access.Cluster && access.Sentinel == "" {
		return &Cache{client: redis.NewClient(one), prefix: prefix}, nil
	}
	if one.TLSConfig != nil {
		one.TLSConfig.ServerName = "" // each server's own
	}
	several := &redis.UniversalOptions{
		Addrs: hosts, DB: one.DB, Username: one.Username, Password: one.Password, TLSConfig: one.TLSConfig, OnConnect: one.OnConnect,
		DialTimeout: patience, ReadTimeout: patience, WriteTimeout: patience, PoolTimeout: patience,
		DialerRetries: 1, MaxRetries: -1, ContextTimeoutEnabled: true, PoolSize: one.PoolSize,
		MasterName: access.Sentinel, SentinelUsername: access.SentinelUser, SentinelPassword: access.SentinelPassword,
	}
	if access.Cluster {
		cluster := redis.NewClusterClient(several.Cluster())
		return &Cache{client: cluster, cluster: cluster, prefix: prefix}, nil
	}
	return &Cache{client: redis.NewFailoverClient(several.Failover()), prefix: prefix}, nil
}

// secure puts the certificates into the options.
func (o Options) secure(options *redis.Options) error {
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
			pair, err := tls.LoadX509KeyPair(o.Cert, o.Key) // it may have been renewed
			return &pair, err
		}
	}
	return nil
}

// examine looks at the server of a new connection. One that does not tell is
// taken: the calls say what is missing.
func (o Options) examine(ctx context.Context, conn *redis.Conn) error {
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

// fields reads what INFO answers.
func fields(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[name] = value
	}
	return info
}

// Reason says in a few words why Redis can't be used. It names no host and no
// user, so it may be shown to callers.
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
