package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// TestEveryServiceNamesTheDependencyThatIsAway takes each dependency from all
// services, one after the other, and gives it back.
func TestEveryServiceNamesTheDependencyThatIsAway(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.withRedis()
	links := map[string]*testenv.Proxy{}
	settings := []string{}
	for _, name := range []string{"DATABASE_URL", "NATS_URL", "REDIS_URL"} {
		links[name] = w.viaProxy(name)
		settings = append(settings, name, links[name].URL)
	}
	dispatcher, sender := freeAddr(t), freeAddr(t)
	w.runDispatcher(append(settings, "HEALTH_ADDR", dispatcher)...)
	w.runSender(append(settings, "HEALTH_ADDR", sender)...)
	services := map[string]string{"ingest": w.runIngest(settings...).url, "dispatcher": "http://" + dispatcher, "sender": "http://" + sender}
	fine := map[string]map[string]service.State{
		"ingest":     {"postgres": service.StateOK, "nats": service.StateOK, "redis": service.StateOK, "provisioned": service.StateOK},
		"dispatcher": {"postgres": service.StateOK, "nats": service.StateOK, "redis": service.StateOK, "provisioned": service.StateOK},
		"sender":     {"postgres": service.StateOK, "nats": service.StateOK, "provisioned": service.StateOK},
	}
	for name, url := range services {
		awaitHealth(t, name, url, service.StateOK, fine[name])
	}

	for _, c := range []struct {
		away string
		want map[string]map[string]service.State // of the services
	}{
		{"REDIS_URL", map[string]map[string]service.State{
			"ingest":     {"redis": service.StateDegraded, "postgres": service.StateOK, "nats": service.StateOK},
			"dispatcher": {"redis": service.StateDegraded, "postgres": service.StateOK, "nats": service.StateOK},
			"sender":     fine["sender"],
		}},
		{"NATS_URL", map[string]map[string]service.State{
			"ingest":     {"nats": service.StateDegraded, "redis": service.StateOK, "postgres": service.StateOK, "provisioned": service.StateOK},
			"dispatcher": {"nats": service.StateDown, "redis": service.StateOK, "postgres": service.StateOK},
			"sender":     {"nats": service.StateDown, "postgres": service.StateOK},
		}},
		{"DATABASE_URL", map[string]map[string]service.State{
			"ingest":     {"postgres": service.StateDown, "nats": service.StateOK, "redis": service.StateOK},
			"dispatcher": {"postgres": service.StateDown, "nats": service.StateOK, "redis": service.StateOK},
			"sender":     {"postgres": service.StateDown, "nats": service.StateOK},
		}},
	} {
		links[c.away].Set(testenv.Fault{Refuse: true})
		links[c.away].Reset()
		for name, url := range services {
			awaitHealth(t, name, url, worst(c.want[name]), c.want[name])
		}
		links[c.away].Heal()
		for name, url := range services {
			awaitHealth(t, name, url, service.StateOK, fine[name])
		}
	}
}

// TestAServiceThatWaitsNamesWhatItWaitsFor has an ingest and a dispatcher
// start without a schema, and without a Redis.
func TestAServiceThatWaitsNamesWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	w := newUnprovisioned(t, "REDIS_URL", "redis://127.0.0.1:1", "DATABASE_URL", dbtest.EmptyURL(t))
	api, dispatcher := freeAddr(t), freeAddr(t)
	run(w, ingest.Run, "HTTP_ADDR", api)
	w.runDispatcher("HEALTH_ADDR", dispatcher)
	for name, addr := range map[string]string{"ingest": api, "dispatcher": dispatcher} {
		report := awaitHealth(t, name, "http://"+addr, service.StateDown, map[string]service.State{
			"service": service.StateDown, "provisioned": service.StateDown, "redis": service.StateDegraded, "postgres": service.StateOK,
		})
		require.Equal(t, "run: dispatch provision", report.Checks["provisioned"].Detail, name)
	}
	w.provision()
	for _, addr := range []string{api, dispatcher} {
		awaitHealth(t, "provisioned", "http://"+addr, service.StateDegraded, map[string]service.State{"redis": service.StateDegraded, "provisioned": service.StateOK})
	}
}

func worst(states map[string]service.State) service.State {
	result := service.StateOK
	for _, state := range states {
		if state == service.StateDown || result == service.StateOK {
			result = state
		}
	}
	return result
}

// shownReport shows what a report has become by the time it is printed.
type shownReport service.Report

func (r *shownReport) String() string { return fmt.Sprint(service.Report(*r)) }

// awaitHealth waits until a service shows a state, and those of some entries.
func awaitHealth(t *testing.T, name, url string, state service.State, entries map[string]service.State) service.Report {
	t.Helper()
	var report service.Report
	var status int
	require.Eventuallyf(t, func() bool {
		response, err := http.Get(url + "/health/ready")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		report, status = service.Report{}, response.StatusCode
		if json.NewDecoder(response.Body).Decode(&report) != nil || report.State != state {
			return false
		}
		for entry, want := range entries {
			if report.Checks[entry].State != want {
				return false
			}
		}
		return true
	}, waitTimeout, 20*time.Millisecond, "%s is not %s with %v but %v", name, state, entries, (*shownReport)(&report))
	require.Equal(t, map[bool]int{true: http.StatusServiceUnavailable, false: http.StatusOK}[state == service.StateDown], status, name)
	return report
}
