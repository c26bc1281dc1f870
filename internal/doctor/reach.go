package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/pkg/cache"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

func (d *doctor) redis(ctx context.Context) {
	const check = "redis"
	if d.env["REDIS_URL"] == "" && d.env["REDIS_HOST"] == "" {
		d.skip(check, "not used: neither REDIS_URL nor REDIS_HOST is set", "")
		return
	}
	c, err := cache.OpenWith(d.cfg.Dispatcher.Redis.URL(), d.cfg.Provision.NATS.Prefix, cache.Options(d.cfg.Dispatcher.Redis.RedisAccess))
	if err != nil {
		d.wrong(check, err.Error(), "correct REDIS_URL")
		return
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, connect.Patience)
	defer cancel()
	condition, err := c.ServerInfo(ctx)
	switch {
	case cache.Refused(err) || redisRemedy(err) != "":
		d.wrong(check, err.Error(), cmp.Or(redisRemedy(err), "correct the user and the password in REDIS_URL, and what Redis' ACL allows that user (docs/OPERATIONS.md lists the keys)")+"; everything works without Redis meanwhile")
		return
	case err != nil:
		d.away(check, err, "check that it runs, that REDIS_URL is right, and that it speaks TLS on this port if and only if the URL begins with rediss://; everything works without it meanwhile")
		return
	}
	d.good(check, "reachable, version "+condition.Version)
	if condition.ReadOnly {
		d.wrong(check, "accepts no writes: it is a replica", "name the primary in REDIS_URL")
	}
	if condition.EvictionPolicy != "" {
		d.wrong(check, "evicts keys when its memory is full (maxmemory-policy "+condition.EvictionPolicy+"); its copy is not exact then", "set maxmemory-policy to noeviction")
	}
}

// redisRemedy says what to do about a Redis that was reached but has another setup.
// It is empty if the error itself says enough.
func redisRemedy(err error) string {
	switch {
	case errors.Is(err, cache.ErrIsCluster):
		return "set REDIS_CLUSTER=true, and name several of its nodes in REDIS_URL"
	case errors.Is(err, cache.ErrIsSentinel):
		return "set REDIS_SENTINEL to the name of the primary (SENTINEL MASTERS lists them), and name the Sentinels in REDIS_URL"
	case errors.Is(err, cache.ErrTooOld):
		return fmt.Sprintf("upgrade it to version %d or later", cache.OldestRedis)
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "set REDIS_CA to the file with the certificate of the authority that signed Redis'"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "renew the certificate of Redis, or use a name in REDIS_URL that is in it"
	case errors.As(err, new(tls.RecordHeaderError)):
		return "it does not speak TLS on this port: begin REDIS_URL with redis://"
	}
	var network *net.OpError
	if errors.As(err, &network) && network.Op == "remote error" {
		return "set REDIS_CERT and REDIS_KEY to a client certificate that Redis accepts"
	}
	return ""
}

// webhook only connects: a webhook can't distinguish a test from a message.
func (d *doctor) webhook(ctx context.Context) {
	const check = "webhook"
	target, err := url.Parse(d.env["WEBHOOK_URL"])
	switch {
	case d.env["WEBHOOK_URL"] == "":
		d.skip(check, "not checked: WEBHOOK_URL is not set", `senders need it; "dispatch up" has a built-in receiver`)
		return
	case err != nil || target.Hostname() == "":
		d.wrong(check, "WEBHOOK_URL is not a URL", "set it to a URL like https://host/path")
		return
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: target})
	if err != nil {
		d.wrong(check, "the proxy of HTTP_PROXY or HTTPS_PROXY can't be read: "+err.Error(), "correct it, or unset it")
		return
	}
	through := ""
	if proxy != nil { // the sender uses it too
		target, through = proxy, ", the proxy on the way to it"
	}
	if err := dial(ctx, target); err != nil {
		var resolving *net.DNSError
		var untrusted *tls.CertificateVerificationError
		var noTLS tls.RecordHeaderError
		switch {
		case errors.As(err, &resolving):
			d.away(check, err, "check the name in WEBHOOK_URL, and that this machine can resolve it")
		case errors.As(err, &untrusted):
			d.wrong(check, err.Error(), "renew its certificate, or let this machine trust its authority")
		case errors.As(err, &noTLS):
			d.wrong(check, target.Host+" does not speak TLS: "+err.Error(), "correct the scheme or the port in WEBHOOK_URL")
		default:
			d.away(check, err, "check that it runs and that this machine may connect")
		}
		return
	}
	d.good(check, target.Host+through+" accepts connections (nothing was sent)")
}

// dial opens a connection, with TLS for https, and closes it.
func dial(ctx context.Context, target *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, connect.Patience)
	defer cancel()
	port := target.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080"}[target.Scheme]
	}
	if port == "" {
		port = "80"
	}
	address := net.JoinHostPort(target.Hostname(), port)
	var conn net.Conn
	var err error
	if target.Scheme == "https" {
		conn, err = (&tls.Dialer{}).DialContext(ctx, "tcp", address)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return err
	}
	return conn.Close()
}

// service checks the health of the API, and whether it accepts our key.
func (d *doctor) service(ctx context.Context) {
	const check = "api"
	ctx, cancel := context.WithTimeout(ctx, 2*connect.Patience)
	defer cancel()
	report, _, err := client.Readiness(ctx, d.api.Base)
	if err != nil {
		d.away(check, err, fmt.Sprintf(`"dispatch up" or "dispatch ingest" starts it; %s names its address`, settings.EnvAPIURL))
		return
	}
	switch report.State {
	case service.StateOK:
		d.good(check, d.api.Base+" is ready")
	default:
		for _, name := range slices.Sorted(maps.Keys(report.Checks)) {
			if status := report.Checks[name]; status.State != service.StateOK {
				d.wrong(check, fmt.Sprintf("%s says that %s is %s: %s", d.api.Base, name, status.State, status.Detail), "see the findings above, and the log of the service")
			}
		}
	}
	var overview message.Overview
	var refusal *client.Problem
	err = d.api.Get(ctx, "/api/v1/messaging/status", &overview)
	switch {
	case errors.As(err, &refusal) && refusal.Status == http.StatusUnauthorized:
		d.wrong(check, "it does not accept our key", "set "+settings.EnvAPIKey+" to one of API_KEYS")
	case err != nil:
		d.wrong(check, "it does not return the status: "+err.Error(), "see the log of the service")
	case overview.State == message.StateStopped:
		d.skip(check, "stopped: no messages are emitted", `"dispatch start" resumes`)
	default:
		d.good(check, "it accepts our requests, and messages are emitted")
	}
	if err == nil {
		d.running(ctx, overview)
	}
}

// instancesLag is the time until the API sees that a service runs.
const instancesLag = 3 * time.Second

// running looks for services without a running process.
func (d *doctor) running(ctx context.Context, o message.Overview) {
	const check = "services"
	wanted := []string{"ingest", "dispatcher", "sender"}
	count := map[string]int{}
	for deadline := time.Now().Add(instancesLag); ; {
		clear(count)
		for _, instance := range o.Instances {
			count[instance.Service]++
		}
		if len(count) == len(wanted) || time.Now().After(deadline) {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(instancesLag / 10):
		}
		var later message.Overview
		if d.api.Get(ctx, "/api/v1/messaging/status", &later) == nil {
			o = later
		}
	}
	for _, name := range wanted {
		if count[name] == 0 {
			d.wrong(check, "no "+name+" is running", "start one: dispatch "+name)
			continue
		}
		d.good(check, fmt.Sprintf("%s: %d running", name, count[name]))
	}
}
