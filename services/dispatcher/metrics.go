package dispatcher

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/message-dispatcher/dispatch/pkg/db"
)

// metrics is what is worth watching of a dispatcher.
type metrics struct {
	ticks           *prometheus.CounterVec
	claimed         *prometheus.CounterVec
	queued          prometheus.Gauge
	relays          *prometheus.CounterVec
	outboxRefused   prometheus.Counter
	outboxRows      prometheus.Gauge
	outboxOldest    prometheus.Gauge
	recorderBatch   prometheus.Histogram
	recorderResults *prometheus.CounterVec
	recorderRefused prometheus.Counter
	leases          *prometheus.CounterVec
	expired         prometheus.Counter
	deleted         *prometheus.CounterVec
	redisCopied     prometheus.Counter
	redisLag        prometheus.Gauge
	restored        *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "dispatch", Subsystem: "dispatcher", Name: name, Help: help}
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "dispatch", Subsystem: "dispatcher", Name: name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(counter(name, help), []string{label})
	}
	m := &metrics{
		ticks:   vec("ticks_total", "Ticks that this dispatcher ran, by result: claimed or empty.", "result"),
		claimed: vec("claimed_messages_total", "Messages that this dispatcher's ticks claimed, by kind: fresh or reclaimed.", "kind"),
		queued:  gauge("queued_ids", "Ids that wait for the senders or are with them, as the last tick saw it."),
		relays:  vec("relayed_batches_total", "Outbox rows that this dispatcher published for others, by kind: claim or events.", "kind"),
		outboxRefused: prometheus.NewCounter(counter("refused_batches_total",
			"Tries of outbox rows with events that NATS did not take; they are tried again every minute.")),
		outboxRows:   gauge("outbox_rows", "Outbox rows that are not yet published."),
		outboxOldest: gauge("outbox_oldest_seconds", "Age of the oldest outbox row; 0 for none."),
		recorderBatch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "dispatch", Subsystem: "dispatcher", Name: "recorder_batch_events",
			Help:    "Events that the recorder took at once; a batch that is always full means that it lags behind.",
			Buckets: []float64{1, 3, 10, 30, 100, 300, recordBatch - 1},
		}),
		recorderResults: vec("recorded_outcomes_total", "Outcomes written to Postgres, by effect: moved the message, or none, because it was known or overtaken.", "effect"),
		recorderRefused: prometheus.NewCounter(counter("refused_outcomes_total", "Outcomes that could not be recorded and were left out.")),
		leases:          vec("leases_total", "Leases that ran out, by what was found: renewed, lost or given_up.", "found"),
		expired:         prometheus.NewCounter(counter("expired_messages_total", "Messages that this dispatcher expired before they were emitted.")),
		deleted:         vec("deleted_rows_total", "Rows that this dispatcher deleted because they were past RETENTION, by table: messages or attempts.", "table"),
		redisCopied:     prometheus.NewCounter(counter("redis_copied_states_total", "States that this dispatcher copied to Redis.")),
		restored:        vec("restored_changes_total", "Changes that Postgres had lost and that were brought back from JetStream, by kind: outcome, cancel or claim.", "kind"),
		redisLag:        gauge("redis_lag_batches", "Batches of changed messages that are not yet copied to Redis, as this dispatcher saw it last."),
	}
	registry.MustRegister(m.ticks, m.claimed, m.queued, m.relays, m.outboxRefused, m.outboxRows, m.outboxOldest, m.recorderBatch,
		m.recorderResults, m.recorderRefused, m.leases, m.expired, m.deleted, m.redisCopied, m.redisLag, m.restored)
	m.begin()
	return m
}

// begin shows every series from the start, as 0: a rate can't be taken of one
// that is not there, nor an alarm raised.
func (m *metrics) begin() {
	for vec, values := range map[*prometheus.CounterVec][]string{
		m.ticks:           {"claimed", "empty"},
		m.claimed:         {"fresh", "reclaimed"},
		m.relays:          {kindClaim, kindEvents},
		m.recorderResults: {"moved", "none"},
		m.leases:          {"renewed", "lost", "given_up"},
		m.deleted:         {"messages", "attempts"},
		m.restored:        {"outcome", "cancel", "claim"},
	} {
		for _, value := range values {
			vec.WithLabelValues(value)
		}
	}
}

func (m *metrics) ticked(tick db.TickResult) {
	if tick.Size() == 0 {
		m.ticks.WithLabelValues("empty").Inc()
		return
	}
	m.ticks.WithLabelValues("claimed").Inc()
	m.claimed.WithLabelValues("fresh").Add(float64(len(tick.Fresh)))
	m.claimed.WithLabelValues("reclaimed").Add(float64(len(tick.Reclaimed)))
}

// Kinds of outbox rows.
const (
	kindClaim  = "claim"
	kindEvents = "events"
)

func (m *metrics) relayed(kind string) { m.relays.WithLabelValues(kind).Inc() }

func (m *metrics) recorded(outcomes, moved int) {
	m.recorderResults.WithLabelValues("moved").Add(float64(moved))
	m.recorderResults.WithLabelValues("none").Add(float64(outcomes - moved))
}

func (m *metrics) backlog(rows int64, oldest time.Duration) {
	m.outboxRows.Set(float64(rows))
	m.outboxOldest.Set(oldest.Seconds())
}
