// Package up runs everything in one process: the servers that no address is
// configured for, provision, and all three services.
package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/internal/provision"
	"github.com/message-dispatcher/dispatch/internal/receiver"
	"github.com/message-dispatcher/dispatch/pkg/embedded"
	"github.com/message-dispatcher/dispatch/pkg/redact"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/dispatcher"
	"github.com/message-dispatcher/dispatch/services/ingest"
	"github.com/message-dispatcher/dispatch/services/sender"
)

// Config is the configuration of everything in one process.
type Config struct {
	Provision  provision.Config
	Ingest     ingest.Config
	Dispatcher dispatcher.Config
	Sender     sender.Config
	NATSListen string `env:"NATS_LISTEN" envDefault:"127.0.0.1:4222" help:"where the embedded NATS server listens"`

	// Dir holds the data of the embedded servers.
	Dir string `env:"-"`

	own        struct{ postgres, nats, redis, webhook bool } // servers that no address is given for
	healthAddr string                                        // HEALTH_ADDR, which has no effect here
	unused     []string                                      // warnings about other settings without effect
}

// defaultNATSListen is the default in Config's tag.
const defaultNATSListen = "127.0.0.1:4222"

// placeholder stands for the address of an embedded server, which is known only
// once it runs. With it, everything else can be validated before.
const placeholder = "127.0.0.1:1"

// Parse reads the configuration. Addresses that are not given become those of the
// embedded servers. All errors are in the *settings.ValidationErrors.
func Parse(environment settings.Environment, dir string) (Config, error) {
	env := settings.Environment{}
	for name, value := range environment {
		env[name] = value
	}
	delete(env, "HEALTH_ADDR") // everything listens on HTTP_ADDR
	own := struct{ postgres, nats, redis, webhook bool }{
		postgres: env["DATABASE_URL"] == "" && env["DB_HOST"] == "",
		nats:     env["NATS_URL"] == "",
		redis:    env["REDIS_URL"] == "" && env["REDIS_HOST"] == "",
		webhook:  env["WEBHOOK_URL"] == "",
	}
	var unused []string
	leaveOut := func(why string, names ...string) {
		for _, name := range names {
			if env[name] != "" {
				unused = append(unused, name+" is ignored, because "+why)
			}
			delete(env, name)
		}
	}
	if own.nats { // it needs no credentials
		leaveOut("NATS_URL is not set: up starts its own NATS server",
			"NATS_CREDS", "NATS_NKEY", "NATS_CA", "NATS_CERT", "NATS_KEY", "NATS_DOMAIN")
	}
	if own.redis {
		leaveOut("neither REDIS_HOST nor REDIS_URL is set",
			"REDIS_CLUSTER", "REDIS_SENTINEL", "REDIS_SENTINEL_USER", "REDIS_SENTINEL_PASSWORD", "REDIS_CA", "REDIS_CERT", "REDIS_KEY")
	}
	if own.postgres {
		leaveOut("neither DB_HOST nor DATABASE_URL is set: up starts its own PostgreSQL",
			"DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD")
		env["DATABASE_URL"] = "postgres://" + placeholder + "/dispatch"
	}
	if own.webhook {
		env["WEBHOOK_URL"] = "http://" + placeholder
	}
	cfg, err := settings.Parse[Config](env)
	cfg.Dir, cfg.own, cfg.healthAddr, cfg.unused = dir, own, environment["HEALTH_ADDR"], unused
	found := &settings.ValidationErrors{}
	_ = errors.As(err, &found) // add to the errors of Parse
	if own.nats && settings.Clash(cfg.NATSListen, cfg.Ingest.HTTPAddr) {
		found.All = append(found.All, settings.ValidationError{Variable: "NATS_LISTEN", Value: cfg.NATSListen, Problem: "must not be where HTTP_ADDR listens"})
	}
	if n := cfg.Provision.NATS.Replicas; own.nats && (n == 3 || n == 5) {
		found.All = append(found.All, settings.ValidationError{Variable: "NATS_REPLICAS", Value: fmt.Sprint(n), Problem: "must be 1 without NATS_URL: up starts a single server"})
	}
	if len(found.All) > 0 {
		return cfg, found
	}
	return cfg, err
}

// Validate validates the address of the embedded NATS server.
func (c Config) Validate() error {
	return settings.ValidAddr("NATS_LISTEN", c.NATSListen)
}

// Warnings returns the settings without effect.
func (c Config) Warnings() []string {
	var warnings []string
	if !c.own.nats && c.NATSListen != defaultNATSListen {
		warnings = append(warnings, "NATS_LISTEN is ignored, because NATS_URL is set: no NATS server is started here")
	}
	warnings = append(warnings, c.unused...)
	if c.healthAddr != "" {
		warnings = append(warnings, "HEALTH_ADDR is ignored by up: /health and /metrics of all services are on HTTP_ADDR")
	}
	return warnings
}

// Addresses are the addresses of all parts, and which of them run in this process
// or as its children. As JSON they are one object of addresses alone.
type Addresses struct {
	API      string `json:"api"`
	NATS     string `json:"nats"`
	Postgres string `json:"postgres"` // without password
	Redis    string `json:"redis"`    // without password; empty: none is used
	Webhook  string `json:"webhook"`

	OwnNATS     bool `json:"-"`
	OwnPostgres bool `json:"-"`
	OwnRedis    bool `json:"-"`
	OwnWebhook  bool `json:"-"`
}

// Run runs everything in this process until ctx ends, and then drains it. It starts
// the servers that no address is given for. The built-in webhook receiver writes a
// line for each message to received. ready is called once, when everything is ready.
func Run(ctx context.Context, cfg Config, log *zap.Logger, received io.Writer, ready func(Addresses)) error {
	// Each service drains under its own timeout. The intake stops before the others,
	// so all together may take two of them.
	group := service.NewGroup(log, 2*cfg.Ingest.Lifecycle.ShutdownTimeout, nil)
	defer group.Stop()

	stack, err := startServers(ctx, cfg, log)
	if err != nil {
		return err
	}
	group.OnStop("servers", stack.Stop)
	group.Go("servers watch", func(ctx context.Context) error {
		select {
		case err := <-stack.Done():
			return err
		case <-ctx.Done():
			return nil
		}
	})
	cfg.Provision.Postgres.DatabaseURL, cfg.Provision.NATS.URL = stack.DatabaseURL, stack.NATSURL
	if err := provision.Run(ctx, cfg.Provision, log); err != nil {
		return err
	}
	if cfg.own.webhook {
		if cfg.Sender.Destination.URL, err = startReceiver(ctx, group, received); err != nil {
			return err
		}
	}
	observe(&cfg)
	runServices(group, cfg, stack, log)
	group.Go("welcome", func(ctx context.Context) error {
		api := "http://" + cfg.Ingest.HTTPAddr
		if !awaitReady(ctx, api) {
			return nil // stopped before it was ready
		}
		ready(Addresses{
			API: api, NATS: redact.Text(stack.NATSURL), Postgres: redact.Text(stack.DatabaseURL),
			Redis: redact.Text(stack.RedisURL), Webhook: redact.Text(cfg.Sender.Destination.URL),
			OwnPostgres: cfg.own.postgres, OwnNATS: cfg.own.nats, OwnRedis: cfg.own.redis, OwnWebhook: cfg.own.webhook,
		})
		<-ctx.Done()
		return nil
	})
	return group.Wait(ctx)
}

func startServers(ctx context.Context, cfg Config, log *zap.Logger) (*embedded.Stack, error) {
	given := embedded.Config{Dir: cfg.Dir, NATSListen: cfg.NATSListen, Logger: log.Named("local")}
	if !cfg.own.postgres {
		given.DatabaseURL = cfg.Provision.Postgres.URL()
	}
	if !cfg.own.nats {
		given.NATSURL = cfg.Provision.NATS.URL
	}
	if !cfg.own.redis {
		given.RedisURL = cfg.Dispatcher.Redis.URL()
	}
	return embedded.Start(ctx, given)
}

// runServices starts the three services. The intake stops first and the dispatcher
// last, so that the recorder stores what the sender still finishes.
func runServices(group *service.Group, cfg Config, stack *embedded.Stack, log *zap.Logger) {
	cfg.Dispatcher.Postgres.DatabaseURL, cfg.Dispatcher.NATS.URL = stack.DatabaseURL, stack.NATSURL
	cfg.Dispatcher.Redis.RedisURL, cfg.Ingest.Redis.RedisURL = stack.RedisURL, stack.RedisURL
	cfg.Sender.Postgres.DatabaseURL, cfg.Sender.NATS.URL = stack.DatabaseURL, stack.NATSURL
	cfg.Ingest.Postgres.DatabaseURL, cfg.Ingest.NATS.URL = stack.DatabaseURL, stack.NATSURL

	group.Go("dispatcher", func(ctx context.Context) error {
		return dispatcher.Run(ctx, cfg.Dispatcher, log.Named("dispatcher"))
	})
	group.Go("sender", func(ctx context.Context) error {
		return sender.Run(ctx, cfg.Sender, log.Named("sender"))
	})
	group.Go("ingest", func(ctx context.Context) error {
		return ingest.Run(ctx, cfg.Ingest, log.Named("ingest"))
	})
}

// observe makes ingest serve the health and the metrics of all three services: only
// ingest listens.
func observe(cfg *Config) {
	metrics, health := service.NewMetrics(), service.NewHealth()
	cfg.Ingest.Lifecycle.Metrics, cfg.Ingest.Lifecycle.Health = metrics, health
	for name, lifecycle := range map[string]*service.Lifecycle{
		"dispatcher": &cfg.Dispatcher.Lifecycle,
		"sender":     &cfg.Sender.Lifecycle,
	} {
		lifecycle.Metrics, lifecycle.Health = metrics, service.NewHealth()
		health.Include(name, lifecycle.Health)
	}
}

// startReceiver starts the built-in webhook receiver and returns its URL.
func startReceiver(ctx context.Context, group *service.Group, received io.Writer) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("start built-in webhook receiver: %w", err)
	}
	server := &http.Server{Handler: receiver.New(receiver.Options{Out: received}), ReadHeaderTimeout: 5 * time.Second}
	group.Go("webhook receiver", func(context.Context) error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.OnStop("webhook receiver stop", server.Shutdown)
	return "http://" + listener.Addr().String(), nil
}

// awaitReady waits until everything is ready. It returns false if ctx ends first.
func awaitReady(ctx context.Context, api string) bool {
	client := &http.Client{Timeout: 5 * time.Second}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, api+"/health/ready", nil)
		if err == nil {
			var response *http.Response
			if response, err = client.Do(request); err == nil {
				response.Body.Close()
				if response.StatusCode == http.StatusOK {
					return true
				}
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
}
