package settings

import (
	"errors"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Postgres is the address of the database: DATABASE_URL, or the DB_ settings. If
// both are set, DATABASE_URL wins.
type Postgres struct {
	DatabaseURL string `env:"DATABASE_URL" secret:"true" help:"PostgreSQL as postgres://user:password@host:port/name; overrides the DB_ settings"`
	Host        string `env:"DB_HOST" help:"PostgreSQL host, or the directory of its socket; needed without DATABASE_URL"`
	Port        uint16 `env:"DB_PORT" envDefault:"5432" help:"PostgreSQL port"`
	Name        string `env:"DB_NAME" envDefault:"dispatch" help:"database name"`
	User        string `env:"DB_USER" help:"database user; needed with DB_HOST"`
	Password    string `env:"DB_PASSWORD" secret:"true" help:"database password"`
}

// URL returns the connection string, correctly escaped. It is empty if no database
// is configured.
func (p Postgres) URL() string {
	if p.DatabaseURL != "" || p.Host == "" {
		return p.DatabaseURL
	}
	u := url.URL{Scheme: "postgres", User: url.User(p.User), Path: "/" + p.Name}
	if p.Password != "" {
		u.User = url.UserPassword(p.User, p.Password)
	}
	port := strconv.Itoa(int(p.Port))
	if path.IsAbs(p.Host) { // a socket's directory is no valid host in a URL
		u.RawQuery = url.Values{"host": {p.Host}, "port": {port}}.Encode()
	} else {
		u.Host = net.JoinHostPort(strings.Trim(p.Host, "[]"), port)
	}
	return u.String()
}

// Validate reports all validation errors of the block.
func (p Postgres) Validate() error {
	if p.DatabaseURL != "" {
		u, err := url.Parse(p.DatabaseURL)
		if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
			return Invalid("DATABASE_URL", Hidden, "must be a URL like postgres://user:password@host:5432/name, with special characters of the password percent-encoded")
		}
		return validEscaping("DATABASE_URL", p.DatabaseURL)
	}
	if p.Host == "" {
		return Invalid("DATABASE_URL", "", "must be set, or DB_HOST, DB_USER, DB_PASSWORD and DB_NAME")
	}
	errs := []error{validHost("DB_HOST", p.Host)}
	if p.Port == 0 {
		errs = append(errs, Invalid("DB_PORT", p.Port, "must be from 1 to 65535"))
	}
	if p.Name == "" {
		errs = append(errs, Invalid("DB_NAME", p.Name, "must be set"))
	}
	if p.User == "" {
		errs = append(errs, Invalid("DB_USER", p.User, "must be set when DB_HOST is"))
	}
	return errors.Join(errs...)
}

// ValidateWith reports what only the driver can find wrong with the URL. The error
// of check is the end of a sentence and must not contain secrets.
func (p Postgres) ValidateWith(check func(url string) error) error {
	if p.Validate() != nil {
		return nil //nolint:nilerr // Validate already reports it
	}
	if err := check(p.URL()); err != nil {
		return Invalid("DATABASE_URL", Hidden, err.Error())
	}
	return nil
}

// Warnings lists the settings that have no effect.
func (p Postgres) Warnings() []string {
	if p.DatabaseURL == "" {
		return nil
	}
	return ignoredWarnings(p, "because DATABASE_URL is set", "DATABASE_URL")
}

// NATS holds the address of the NATS servers and the names used on them.
type NATS struct {
	NATSAccess
	Prefix   string `env:"PREFIX" envDefault:"dispatch" help:"prefix of the names of all subjects and streams, and of all Redis keys"`
	Replicas int    `env:"NATS_REPLICAS" envDefault:"1" help:"replicas of every stream: 1, 3 or 5"`
}

var prefixPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// Validate reports all validation errors of the block.
func (n NATS) Validate() error {
	errs := n.validate()
	servers := strings.Split(n.URL, ",")
	for i, server := range servers {
		server = strings.TrimSpace(server)
		if i > 0 && isRestOfPassword(servers[i-1], server) {
			errs = append(errs, Invalid("NATS_URL", Hidden, "must have a comma in a password written as %2C: commas separate servers"))
			break
		}
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		if !isURL(server, "nats", "tls", "ws", "wss") {
			errs = append(errs, Invalid("NATS_URL", Hidden, "must be nats://host:port, tls://, ws:// or wss://, several separated by commas"))
			break
		}
		if err := validEscaping("NATS_URL", server); err != nil {
			errs = append(errs, err)
			break
		}
	}
	if !prefixPattern.MatchString(n.Prefix) {
		errs = append(errs, Invalid("PREFIX", n.Prefix, "must be 1 to 32 of a-z, 0-9, _ and -, beginning with a letter or digit"))
	}
	if !slices.Contains([]int{1, 3, 5}, n.Replicas) {
		errs = append(errs, Invalid("NATS_REPLICAS", n.Replicas, "must be 1, 3 or 5"))
	}
	return errors.Join(errs...)
}

// Redis is the address of Redis. Redis is optional: without REDIS_URL and REDIS_HOST
// there is none. If both are set, REDIS_URL wins.
type Redis struct {
	RedisURL string `env:"REDIS_URL" secret:"true" help:"Redis as redis://user:password@host:port/db; overrides REDIS_HOST; with neither, no Redis is used"`
	Host     string `env:"REDIS_HOST" help:"Redis host"`
	Port     uint16 `env:"REDIS_PORT" envDefault:"6379" help:"Redis port"`
	User     string `env:"REDIS_USER" help:"Redis user (ACL), with REDIS_HOST; unset: the default user"`
	Password string `env:"REDIS_PASSWORD" secret:"true" help:"Redis password, with REDIS_HOST"`
	RedisAccess
}

// Enabled reports whether a Redis is configured.
func (r Redis) Enabled() bool { return r.RedisURL != "" || r.Host != "" }

// URL returns the address as a Redis URL. It is empty if there is no Redis.
func (r Redis) URL() string {
	if r.RedisURL != "" || r.Host == "" {
		return r.RedisURL
	}
	u := url.URL{Scheme: "redis", Host: net.JoinHostPort(strings.Trim(r.Host, "[]"), strconv.Itoa(int(r.Port)))}
	if r.Password != "" {
		u.User = url.UserPassword(r.User, r.Password)
	}
	return u.String()
}

// Validate reports all validation errors of the block.
func (r Redis) Validate() error {
	if r.RedisURL != "" {
		if !isURL(r.RedisURL, "redis", "rediss", "unix") {
			return Invalid("REDIS_URL", Hidden, "must be a URL like redis://user:password@host:6379/0, rediss:// or unix:///path")
		}
		if u, err := url.Parse(r.RedisURL); err == nil && u.User.Username() != "" && !hasPassword(u) {
			return Invalid("REDIS_URL", Hidden, "must have a password after the user, as redis://user:password@host, or neither: Redis knows no user without one")
		}
		return errors.Join(append(r.validate(r.RedisURL), validEscaping("REDIS_URL", r.RedisURL))...)
	}
	if r.Host == "" {
		return nil
	}
	errs := append(r.validate(r.URL()), validHost("REDIS_HOST", r.Host))
	if r.Port == 0 {
		errs = append(errs, Invalid("REDIS_PORT", r.Port, "must be from 1 to 65535"))
	}
	if r.User != "" && r.Password == "" {
		errs = append(errs, Invalid("REDIS_USER", r.User, "must be unset without REDIS_PASSWORD: Redis knows no user without one"))
	}
	return errors.Join(errs...)
}

// ValidateWith is Postgres.ValidateWith for Redis.
func (r Redis) ValidateWith(check func(url string) error) error {
	if !r.Enabled() || r.Validate() != nil {
		return nil //nolint:nilerr // Validate already reports it
	}
	if err := check(r.URL()); err != nil {
		return Invalid("REDIS_URL", Hidden, err.Error())
	}
	return nil
}

// Warnings lists the settings that have no effect.
func (r Redis) Warnings() []string {
	switch {
	case r.RedisURL != "":
		return ignoredWarnings(r, "because REDIS_URL is set", append(r.settingNames(), "REDIS_URL")...)
	case r.Host == "":
		return ignoredWarnings(r, "because neither REDIS_HOST nor REDIS_URL is set", "")
	}
	return nil
}

// Log configures the level and the format of the log.
type Log struct {
	Level  string `env:"LOG_LEVEL" envDefault:"info" help:"debug, info, warn or error"`
	Format string `env:"LOG_FORMAT" help:"json or console; unset: console on a terminal, json elsewhere"`
}

// Validate reports all validation errors of the block.
func (l Log) Validate() error {
	var errs []error
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, strings.ToLower(l.Level)) {
		errs = append(errs, Invalid("LOG_LEVEL", l.Level, "must be debug, info, warn or error"))
	}
	if !slices.Contains([]string{"", "json", "console"}, strings.ToLower(l.Format)) {
		errs = append(errs, Invalid("LOG_FORMAT", l.Format, "must be json or console"))
	}
	return errors.Join(errs...)
}

// MaxWebhookTimeout is the limit of WEBHOOK_TIMEOUT. A sender holds a delivery for
// 90 s, and a request must end well within that time.
const MaxWebhookTimeout = time.Minute

// ValidWebhookTimeout validates WEBHOOK_TIMEOUT, which several services read.
func ValidWebhookTimeout(d time.Duration) error {
	if d < time.Millisecond || d > MaxWebhookTimeout {
		return Invalid("WEBHOOK_TIMEOUT", d, "must be from 1ms to "+MaxWebhookTimeout.String())
	}
	return nil
}

// ValidAddr returns a validation error unless addr is a host:port to listen on. The
// host may be empty (all interfaces), the port 0 (any free one).
func ValidAddr(variable, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return Invalid(variable, addr, "must be host:port, for example 127.0.0.1:8080 or :8080")
	}
	return nil
}

// Clash reports whether two listen addresses conflict: they have the same port, and
// the same host or a host that means every interface.
func Clash(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	hostA, hostB = normalizeHost(hostA), normalizeHost(hostB)
	return hostA == hostB || hostA == "" || hostB == ""
}

// normalizeHost returns a host in one notation, empty for every interface.
func normalizeHost(host string) string {
	if strings.EqualFold(host, "localhost") {
		return "127.0.0.1"
	}
	ip := net.ParseIP(host)
	switch {
	case ip == nil:
		return strings.ToLower(host)
	case ip.IsUnspecified():
		return ""
	}
	return ip.String()
}

// isURL reports whether raw has one of the schemes, and a host or, for a socket, a
// path.
func isURL(raw string, schemes ...string) bool {
	u, err := url.Parse(raw)
	if err != nil || !slices.Contains(schemes, u.Scheme) {
		return false
	}
	if u.Scheme == "unix" {
		return u.Path != ""
	}
	return u.Hostname() != ""
}
