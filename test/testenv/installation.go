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

// Installation is a set of servers and services that work together.
type Installation struct {
	// Env is what every service is started with; those behind
	// proxies have other addresses.
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
	inst := &Installation{t: t, Program: Build(t, o.Tags...), Webhook: NewWebhook(t), proxies: map[string]*Proxy{}}
	inst.Postgres = StartPostgres(t, o.Postgres)
	inst.NATS = startNATS(t, max(o.NATSNodes, 1), o.NATSConfig, func(from, to, address string) string {
		if !o.Proxies {
			return address
		}
		return inst.addProxy(from, to, address).URL
	})
	if o.Redis {
		inst.Redis = StartRedis(t)
	}
	inst.Env = map[string]string{
		"WEBHOOK_TIMEOUT":     "5s",
		"SHUTDOWN_TIMEOUT":    "20s",
		"PROCESSING_INTERVAL": "0",
		"RETRY_BASE":          "200ms",
		"RETRY_FACTOR":        "2",
		"LOG_LEVEL":           "warn",
	}
	maps.Copy(inst.Env, o.Settings)
	for setting, addresses := range inst.addresses() {
		inst.Env[setting] = strings.Join(addresses, ",")
	}
	inst.Provision()
	inst.Ingests = inst.services("ingest", o.Ingests, o.Proxies)
	inst.Dispatchers = inst.services("dispatcher", o.Dispatchers, o.Proxies)
	inst.Senders = inst.services("sender", o.Senders, o.Proxies)
	if o.Proxies {
		for _, ingest := range inst.Ingests {
			inst.addProxy("client", ingest.Name, ingest.URL)
		}
		for _, nats := range inst.NATS {
			inst.addProxy("client", nats.Name, nats.URL)
		}
	}
	t.Cleanup(func() {
		for _, p := range inst.Processes() {
			if err := p.Err(); err != nil {
				t.Error(err)
			}
		}
	})
	return inst
}

// addresses lists where the servers are, by the setting that says so.
func (inst *Installation) addresses() map[string][]string {
	list := map[string][]string{
		"DATABASE_URL": {inst.Postgres.URL},
		"WEBHOOK_URL":  {inst.Webhook.URL},
	}
	for _, nats := range inst.NATS {
		list["NATS_URL"] = append(list["NATS_URL"], nats.URL)
	}
	if inst.Redis != nil {
		list["REDIS_URL"] = []string{inst.Redis.URL}
	}
	return list
}

// serverSettings are the settings that a service uses.
var serverSettings = map[string][]string{
	"ingest":     {"DATABASE_URL", "NATS_URL"},
	"dispatcher": {"DATABASE_URL", "NATS_URL", "REDIS_URL"},
	"sender":     {"DATABASE_URL", "NATS_URL", "WEBHOOK_URL"},
}

func (inst *Installation) services(service string, count int, proxied bool) []*Process {
	list := make([]*Process, count)
	for i := range list {
		name := fmt.Sprintf("%s-%d", service, i+1)
		env := with(inst.Env)
		if proxied {
			for _, setting := range serverSettings[service] {
				inst.viaProxies(env, name, setting)
			}
		}
		env["WEBHOOK_URL"] += "/" + name // names the service to the webhook
		list[i] = NewService(inst.t, name, inst.Program, env, service)
	}
	return list
}

// viaProxies has a service reach the servers of a setting through proxies.
func (inst *Installation) viaProxies(env map[string]string, from, setting string) {
	addresses := inst.addresses()[setting]
	if len(addresses) == 0 {
		return
	}
	through := make([]string, len(addresses))
	for i, address := range addresses {
		to := map[string]string{"DATABASE_URL": "postgres", "REDIS_URL": "redis", "WEBHOOK_URL": "webhook"}[setting]
		if setting == "NATS_URL" {
			to = inst.NATS[i].Name
		}
		through[i] = inst.addProxy(from, to, address).URL
	}
	env[setting] = strings.Join(through, ",")
}

func (inst *Installation) addProxy(from, to, address string) *Proxy {
	proxy := NewProxy(inst.t, from+" → "+to, address)
	inst.proxies[proxy.Name] = proxy
	return proxy
}

// Proxy returns the proxy from one process to another, by their names: client,
// ingest-1, dispatcher-2, sender-3, postgres, nats (nats-1 in a cluster), redis,
// webhook. Two servers of a cluster have one in each direction and use either.
// There is none without Options.Proxies.
func (inst *Installation) Proxy(from, to string) *Proxy {
	inst.t.Helper()
	proxy := inst.proxies[from+" → "+to]
	if proxy == nil {
		inst.t.Fatalf("there is no proxy from %s to %s", from, to)
	}
	return proxy
}

// Partition cuts a NATS server off from some others of its cluster, or from all
// if none are named, until heal is called. Clients still reach it.
func (inst *Installation) Partition(server *NATS, from ...*NATS) (heal func()) {
	inst.t.Helper()
	inst.requireProxies()
	if len(from) == 0 {
		from = inst.NATS
	}
	var cut []*Proxy
	for _, other := range from {
		if other != server {
			cut = append(cut, inst.Proxy(server.Name, other.Name), inst.Proxy(other.Name, server.Name))
		}
	}
	for _, proxy := range cut {
		proxy.Cut()
	}
	return func() {
		for _, proxy := range cut {
			proxy.Heal()
		}
	}
}

// Proxies returns every proxy by its name.
func (inst *Installation) Proxies() map[string]*Proxy { return maps.Clone(inst.proxies) }

// Provision runs dispatch provision, and shortens the senders' ack wait.
func (inst *Installation) Provision() {
	inst.t.Helper()
	p := NewProcess(inst.t, "provision", inst.Program, inst.Env, "provision").Start()
	if code := p.Wait(); code != 0 {
		inst.t.Fatalf("provision: exit code %d\n%s", code, p.Output)
	}
	timeout, err := time.ParseDuration(inst.Env["WEBHOOK_TIMEOUT"])
	if err != nil {
		inst.t.Fatal(err)
	}
	ShortenAckWait(inst.t, inst.Env["NATS_URL"], inst.Env["PREFIX"], AckWait(timeout))
}

// Services returns every service.
func (inst *Installation) Services() []*Process {
	return append(append(append([]*Process(nil), inst.Ingests...), inst.Dispatchers...), inst.Senders...)
}

// Servers returns Postgres, NATS and, if there is one, Redis.
func (inst *Installation) Servers() []*Process {
	list := []*Process{inst.Postgres.Process}
	for _, nats := range inst.NATS {
		list = append(list, nats.Process)
	}
	if inst.Redis != nil {
		list = append(list, inst.Redis.Process)
	}
	return list
}

// Processes returns everything that can be killed.
func (inst *Installation) Processes() []*Process { return append(inst.Servers(), inst.Services()...) }

// Start starts everything that does not run and waits until it is ready.
func (inst *Installation) Start() *Installation {
	inst.t.Helper()
	for _, p := range inst.Processes() {
		p.Start()
	}
	for _, p := range inst.Services() {
		p.WaitReady()
	}
	return inst
}

// Terminate ends all services at once, each after its work in flight.
func (inst *Installation) Terminate() error {
	services := inst.Services()
	ended := make(chan error, len(services))
	for _, p := range services {
		go func() { ended <- p.Terminate() }()
	}
	var errs []error
	for range services {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// KillServices is kill -9 of every service at once.
func (inst *Installation) KillServices() {
	services := inst.Services()
	done := make(chan struct{})
	for _, p := range services {
		go func() { p.Kill(); done <- struct{}{} }()
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
