package testenv

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// Options say what an installation consists of.
type Options struct {
	// Settings of every service, on top of fast ones: continuous mode, short
	// timeouts and retries.
	Settings map[string]string
	// How many of each service there are.
	Ingests, Dispatchers, Senders int
	// Redis adds one; without, the installation has none.
	Redis bool
	// Proxies puts a Proxy between any two: see Installation.Proxy.
	Proxies bool
	// NATSNodes is how many NATS servers there are, a cluster if more than
	// one (set NATS_REPLICAS too). 0 means 1.
	NATSNodes int
	// NATSConfig writes a NATS server's configuration; nil: NATSNode.Config.
	NATSConfig func(NATSNode) string
	// Postgres are settings of PostgreSQL's own.
	Postgres map[string]string
	// Tags are build tags of the dispatch program.
	Tags []string
}

// Installation is one installation.
type Installation struct {
	// Env is what every service is started with; those behind links have
	// their own addresses on top.
	Env      map[string]string
	Program  string
	Postgres *Postgres
	NATS     []*NATS
	Redis    *Redis // nil without
	Webhook  *Webhook

	Ingests, Dispatchers, Senders []*Process

	t       testing.TB
	proxies map[string]*Proxy
}

// New starts the servers, provisions them, and prepares the services, none of
// which runs yet: see Start.
func New(t testing.TB, o Options) *Installation {
	t.Helper()
	r := &Installation{t: t, Program: Build(t, o.Tags...), Webhook: NewWebhook(t), proxies: map[string]*Proxy{}}
	r.Postgres = StartPostgres(t, o.Postgres)
	r.NATS = startNATS(t, max(o.NATSNodes, 1), o.NATSConfig, func(from, to, address string) string {
		if !o.Proxies {
			return address
		}
		return r.addProxy(from, to, address).URL
	})
	if o.Redis {
		r.Redis = StartRedis(t)
	}
	r.Env = map[string]string{
		"WEBHOOK_TIMEOUT":     "5s",
		"SHUTDOWN_TIMEOUT":    "20s",
		"PROCESSING_INTERVAL": "0",
		"RETRY_BASE":          "200ms",
		"RETRY_FACTOR":        "2",
		"LOG_LEVEL":           "warn",
	}
	maps.Copy(r.Env, o.Settings)
	for setting, addresses := range r.addresses() {
		r.Env[setting] = strings.Join(addresses, ",")
	}
	r.Provision()
	r.Ingests = r.services("ingest", o.Ingests, o.Proxies)
	r.Dispatchers = r.services("dispatcher", o.Dispatchers, o.Proxies)
	r.Senders = r.services("sender", o.Senders, o.Proxies)
	if o.Proxies {
		for _, ingest := range r.Ingests {
			r.addProxy("client", ingest.Name, ingest.URL)
		}
		for _, nats := range r.NATS {
			r.addProxy("client", nats.Name, nats.URL)
		}
	}
	t.Cleanup(func() {
		for _, u := range r.Processes() {
			if err := u.Err(); err != nil {
				t.Error(err)
			}
		}
	})
	return r
}

// addresses lists where the servers are, by the setting that says so.
func (r *Installation) addresses() map[string][]string {
	list := map[string][]string{
		"DATABASE_URL": {r.Postgres.URL},
		"WEBHOOK_URL":  {r.Webhook.URL},
	}
	for _, nats := range r.NATS {
		list["NATS_URL"] = append(list["NATS_URL"], nats.URL)
	}
	if r.Redis != nil {
		list["REDIS_URL"] = []string{r.Redis.URL}
	}
	return list
}

// serverSettings are the settings that a service uses.
var serverSettings = map[string][]string{
	"ingest":     {"DATABASE_URL", "NATS_URL"},
	"dispatcher": {"DATABASE_URL", "NATS_URL", "REDIS_URL"},
	"sender":     {"DATABASE_URL", "NATS_URL", "WEBHOOK_URL"},
}

func (r *Installation) services(service string, count int, linked bool) []*Process {
	list := make([]*Process, count)
	for i := range list {
		name := fmt.Sprintf("%s-%d", service, i+1)
		env := with(r.Env)
		if linked {
			for _, setting := range serverSettings[service] {
				r.viaProxies(env, name, setting)
			}
		}
		env["WEBHOOK_URL"] += "/" + name // tells the webhook who it is
		list[i] = NewService(r.t, name, r.Program, env, service)
	}
	return list
}

// viaProxies sends a service by links to the servers of a setting.
func (r *Installation) viaProxies(env map[string]string, from, setting string) {
	addresses := r.addresses()[setting]
	if len(addresses) == 0 {
		return
	}
	through := make([]string, len(addresses))
	for i, address := range addresses {
		to := map[string]string{"DATABASE_URL": "postgres", "REDIS_URL": "redis", "WEBHOOK_URL": "webhook"}[setting]
		if setting == "NATS_URL" {
			to = r.NATS[i].Name
		}
		through[i] = r.addProxy(from, to, address).URL
	}
	env[setting] = strings.Join(through, ",")
}

func (r *Installation) addProxy(from, to, address string) *Proxy {
	l := NewProxy(r.t, from+" → "+to, address)
	r.proxies[l.Name] = l
	return l
}

// Proxy returns the way from one to another, by their names: client, ingest-1,
// dispatcher-2, sender-3, postgres, nats (nats-1 in a cluster), redis,
// webhook. Two servers of a cluster have one each way, and use either. There
// is none without Options.Links.
func (r *Installation) Proxy(from, to string) *Proxy {
	r.t.Helper()
	l := r.proxies[from+" → "+to]
	if l == nil {
		r.t.Fatalf("there is no link from %s to %s", from, to)
	}
	return l
}

// Partition cuts a NATS server off from some others of its cluster, or from all
// when none are named, and from nobody else, until the returned function is
// called.
func (r *Installation) Partition(server *NATS, from ...*NATS) (join func()) {
	r.t.Helper()
	r.requireProxies()
	if len(from) == 0 {
		from = r.NATS
	}
	var cut []*Proxy
	for _, other := range from {
		if other != server {
			cut = append(cut, r.Proxy(server.Name, other.Name), r.Proxy(other.Name, server.Name))
		}
	}
	for _, link := range cut {
		link.Cut()
	}
	return func() {
		for _, link := range cut {
			link.Heal()
		}
	}
}

// Proxies returns every link by its name.
func (r *Installation) Proxies() map[string]*Proxy { return maps.Clone(r.proxies) }

// Provision runs dispatch provision, and shortens the senders' ack wait.
func (r *Installation) Provision() {
	r.t.Helper()
	p := NewProcess(r.t, "provision", r.Program, r.Env, "provision").Start()
	if code := p.Wait(); code != 0 {
		r.t.Fatalf("provision: exit code %d\n%s", code, p.Output)
	}
	timeout, err := time.ParseDuration(r.Env["WEBHOOK_TIMEOUT"])
	if err != nil {
		r.t.Fatal(err)
	}
	ShortenAckWait(r.t, r.Env["NATS_URL"], r.Env["PREFIX"], AckWait(timeout))
}

// Services returns every service.
func (r *Installation) Services() []*Process {
	return append(append(append([]*Process(nil), r.Ingests...), r.Dispatchers...), r.Senders...)
}

// Servers returns Postgres, NATS and, if there is one, Redis.
func (r *Installation) Servers() []*Process {
	list := []*Process{r.Postgres.Process}
	for _, nats := range r.NATS {
		list = append(list, nats.Process)
	}
	if r.Redis != nil {
		list = append(list, r.Redis.Process)
	}
	return list
}

// Processes returns everything that can be killed.
func (r *Installation) Processes() []*Process { return append(r.Servers(), r.Services()...) }

// Start starts all that does not run and waits until it is ready.
func (r *Installation) Start() *Installation {
	r.t.Helper()
	for _, u := range r.Processes() {
		u.Start()
	}
	for _, u := range r.Services() {
		u.WaitReady()
	}
	return r
}

// Terminate ends every service in good order, all at once.
func (r *Installation) Terminate() error {
	services := r.Services()
	ended := make(chan error, len(services))
	for _, u := range services {
		go func() { ended <- u.Terminate() }()
	}
	var errs []error
	for range services {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// KillServices is kill -9 of every service at once.
func (r *Installation) KillServices() {
	services := r.Services()
	done := make(chan struct{})
	for _, u := range services {
		go func() { u.Kill(); done <- struct{}{} }()
	}
	for range services {
		<-done
	}
}

// with copies settings and changes some.
func with(env map[string]string, settings ...string) map[string]string {
	env = maps.Clone(env)
	for i := 0; i < len(settings); i += 2 {
		env[settings[i]] = settings[i+1]
	}
	return env
}
