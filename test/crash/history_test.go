package crash_test

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/checker"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// settle waits until every promise is kept and nothing is on its way.
func (i *installation) settle() {
	i.t.Helper()
	for _, p := range i.promises() {
		if p.id == (message.ID{}) {
			i.eventually("there is a message under "+p.key, func() bool {
				return i.pool.QueryRow(i.t.Context(), "SELECT id FROM messages WHERE idempotency_key = $1", p.key).Scan(&p.id) == nil
			})
		}
		if !p.gone {
			i.await(p, p.status)
			continue
		}
		i.eventually(p.String()+" is gone", func() bool {
			_, err := i.store.Get(i.t.Context(), p.id)
			return errors.Is(err, db.ErrNotFound)
		})
	}
	i.eventually("nothing is on its way", i.atRest)
	for _, consumer := range i.top.Consumers([]string{message.DefaultDestination}) {
		if consumer.Config.Durable == events.CacheConsumer && i.env["REDIS_URL"] == "" {
			continue
		}
		i.eventually("nothing waits for "+consumer.Config.Durable, func() bool {
			c, err := i.js.Consumer(i.t.Context(), consumer.Stream, consumer.Config.Durable)
			return err == nil && c.CachedInfo().NumPending == 0 && c.CachedInfo().NumAckPending == 0
		})
	}
}

// checkHistory compares what is stored with what was promised, and has the
// checker compare everything with everything else. repeats is how many POSTs may have been
// made twice, and how many must have been.
func (i *installation) checkHistory(repeats doubles) {
	i.t.Helper()
	ids, extra := map[message.ID]bool{}, 0
	for _, p := range i.promises() {
		require.False(i.t, ids[p.id], "one message for two requests: %s", p)
		ids[p.id] = true
		if !p.gone {
			m, err := i.store.Get(i.t.Context(), p.id)
			require.NoError(i.t, err)
			require.Equal(i.t, p.status, m.Status, "%s", p)
		}
		calls := len(i.webhook.Received(p.id.String()))
		require.GreaterOrEqual(i.t, calls, p.calls, "calls for %s", p)
		extra += calls - p.calls
	}
	require.LessOrEqual(i.t, extra, repeats.most, "requests made twice")
	require.GreaterOrEqual(i.t, extra, repeats.least, "requests made twice")
	overview, err := i.store.Overview(i.t.Context())
	require.NoError(i.t, err)
	require.NotNil(i.t, overview.NextTickAt, "the tick is left open")
	require.Equal(i.t, message.StateRunning, overview.State)

	var findings []checker.Finding
	for again := 0; again == 0 || (again < 20 && slices.ContainsFunc(findings, isTransient)); again++ {
		if again > 0 {
			<-time.After(500 * time.Millisecond)
		}
		findings = i.judge()
	}
	for _, finding := range findings {
		i.t.Error(finding)
	}
	if len(findings) > 0 {
		i.t.FailNow()
	}
}

// isTransient says whether a finding may go away by itself: Redis follows later.
func isTransient(f checker.Finding) bool {
	return f.Kind == checker.RedisDiffers || f.Kind == checker.Miscounted
}

// judge runs the checker. What it takes for wrong, because it knows nothing
// of rejections, and of what was lost twenty times, is held against the
// promises here.
func (i *installation) judge() (findings []checker.Finding) {
	i.t.Helper()
	i.ingest.WaitReady()
	record := i.evidence()
	require.NoError(i.t, record.Gather(i.t.Context(), checker.Places{
		Database: i.env["DATABASE_URL"], NATS: i.env["NATS_URL"], API: i.ingest.URL, Redis: i.env["REDIS_URL"], Prefix: i.env["PREFIX"],
	}))
	i.checkRejected(&record)
	hopeless := map[string]bool{}
	for _, p := range i.promises() {
		hopeless[p.id.String()] = p.hopeless
	}
	verdict := checker.Judge(record, checker.Promises{
		AckWait: senderAckWait, WebhookTimeout: webhookTimeout, MaxRetries: 3, NoRedis: i.env["REDIS_URL"] == "",
	})
	for _, finding := range verdict.Findings {
		if finding.Kind == checker.Contradicted && hopeless[finding.Message] {
			continue
		}
		findings = append(findings, finding)
	}
	return findings
}

// evidence is what this test knows.
func (i *installation) evidence() checker.Evidence {
	record := checker.Evidence{Disturbances: i.kills, Stops: i.stops}
	for _, p := range i.promises() {
		op := checker.Op{Key: p.key, Via: "http", Invoked: p.tried, Accepted: p.tried, ID: p.id.String()}
		if op.Gone = p.gone; p.status == message.Expired {
			op.ExpiresAt = p.tried // a little after that
		}
		record.Ops = append(record.Ops, op)
		for _, move := range p.userRequests {
			record.UserRequests = append(record.UserRequests, checker.UserRequest{Action: move, ID: op.ID, Sent: p.tried, Answered: time.Now(), OK: true})
		}
	}
	for _, call := range i.webhook.Received("") {
		record.Requests = append(record.Requests, request(call))
	}
	return record
}

func request(c testenv.Call) checker.Request {
	number, _ := strconv.Atoi(c.Attempt) // 0 is no number of ours
	return checker.Request{
		Sender: "sender", ID: c.ID, Attempt: number, Arrived: c.At, Done: c.Done, Status: c.Status, Written: c.Written,
	}
}

// checkRejected takes rejections out of the evidence: each entry is kept once,
// and one event is published for it.
func (i *installation) checkRejected(record *checker.Evidence) {
	i.t.Helper()
	published := map[string]bool{}
	record.Events = slices.DeleteFunc(record.Events, func(e checker.Event) bool {
		if e.Type == string(message.EventRejected) {
			published[e.ID] = true
			return true
		}
		return false
	})
	record.Rejected = nil
	kept, err := i.js.Stream(i.t.Context(), i.top.RejectedStream())
	require.NoError(i.t, err)
	require.EqualValues(i.t, i.rejected, kept.CachedInfo().State.Msgs, "entries kept on REJECTED")
	require.Len(i.t, published, i.rejected, "events about a rejection")
}
