package e2e_test

import (
	"context"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// installation is real processes, with the means to look into them.
type installation struct {
	*testenv.Installation
	t     *testing.T
	js    *jetstream.Client
	top   events.Topology
	store *db.Store
}

func newInstallation(t *testing.T, o testenv.Options) *installation {
	t.Helper()
	i := &installation{Installation: testenv.New(t, o), t: t, top: events.NewTopology("dispatch", 1)}
	js, err := jetstream.Connect(jetstream.Access{URL: i.Env["NATS_URL"]}, i.top, "test")
	require.NoError(t, err)
	t.Cleanup(js.Conn().Close)
	testenv.Eventually(t, js.Conn().IsConnected)
	i.js = js
	pool, err := dbpool.Open(t.Context(), i.Postgres.URL, dbpool.Options{Name: "test", MaxConns: 4})
	require.NoError(t, err)
	t.Cleanup(func() { dbpool.Close(pool) })
	i.store = db.NewStore(pool)
	return i
}

// insert stores messages without an ingest.
func (i *installation) insert(messages ...message.Message) {
	i.t.Helper()
	builder := events.NewEventBuilder(i.top, false)
	_, _, err := i.store.Insert(i.t.Context(), messages, func(moved []message.Message) []byte {
		return events.EncodeOutbox(builder.Transitions(message.EventCreated, moved))
	})
	require.NoError(i.t, err)
}

// emitted lists what is on the work queue, in the order of emission.
func (i *installation) emitted() []*natsjs.RawStreamMsg {
	i.t.Helper()
	stream, err := i.js.Stream(i.t.Context(), i.top.DeliveriesStream())
	require.NoError(i.t, err)
	var list []*natsjs.RawStreamMsg
	for sequence := uint64(1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
		if msg, err := stream.GetMsg(i.t.Context(), sequence); err == nil {
			list = append(list, msg)
		}
	}
	return list
}

func (i *installation) awaitEmitted(n int) {
	i.t.Helper()
	testenv.Eventually(i.t, func() bool { return len(i.emitted()) >= n }, "%d emissions", n)
}

// requireAllSent waits until every accepted message is SENT, has reached the
// webhook once, and nothing is left anywhere.
func (i *installation) requireAllSent(accepted []message.ID) {
	i.t.Helper()
	require.NotEmpty(i.t, accepted)
	for _, id := range accepted {
		testenv.Eventually(i.t, func() bool {
			m, err := i.store.Get(context.WithoutCancel(i.t.Context()), id)
			return err == nil && m.Status == message.Sent
		}, "message %s is not sent", id)
	}
	calls := map[string]int{}
	for _, c := range i.Webhook.Received("") {
		calls[c.ID]++
	}
	for _, id := range accepted {
		require.Equal(i.t, 1, calls[id.String()], "calls of message %s", id)
	}
	testenv.Eventually(i.t, func() bool {
		rows, _, err := i.store.OutboxBacklog(i.t.Context())
		stream, gone := i.js.Stream(i.t.Context(), i.top.DeliveriesStream())
		return err == nil && rows == 0 && gone == nil && stream.CachedInfo().State.Msgs == 0
	}, "an outbox row or a delivery is left over")
}
