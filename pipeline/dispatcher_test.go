package pipeline_test

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestThreeDispatchersTogetherKeepThePaceExactly(t *testing.T) {
	t.Parallel()
	const (
		interval = time.Second
		batch    = 2
		count    = 10
	)
	w := newWorld(t, "PROCESSING_INTERVAL", interval.String())
	w.insert(drafts(count)...)
	for range 3 {
		w.runDispatcher()
	}

	w.awaitDeliveries(count)

	emitted := w.emitted()
	for i := batch; i < count; i++ {
		apart := emitted[i].Time.Sub(emitted[i-batch].Time)
		require.GreaterOrEqual(t, apart, interval, "emissions %d and %d", i-batch, i)
		require.Less(t, apart, 2*interval, "an interval was left out before emission %d", i)
	}
	for _, msg := range emitted {
		require.Equal(t, events.OriginTick, msg.Header.Get(events.HeaderOrigin))
		require.Equal(t, "1", msg.Header.Get(events.HeaderClaim))
	}
}

// leaveUnpublished makes a claim as a dispatcher does that dies before it can
// publish it.
func (w *world) leaveUnpublished() db.Tick {
	w.t.Helper()
	composer := events.NewComposer(w.top, false)
	tick, err := w.store.Tick(w.t.Context(), db.TickParams{
		Destination: message.DefaultDestination, Limit: 100, Lease: time.Hour, BatchSize: db.DefaultBatchSize,
		Box: func(c db.Claim) []byte { return events.Encode(composer.Claimed(events.OriginTick, c.Fresh)) },
	})
	require.NoError(w.t, err)
	require.NotZero(w.t, tick.OutboxID)
	return tick
}

func TestAClaimWhoseOwnerDiedIsRelayedAndTheIntervalBeginsThen(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	w := newWorld(t, "PROCESSING_INTERVAL", interval.String(), "BATCH_SIZE", "1")
	ids := w.insert(drafts(2)...)
	claimed := time.Now()
	tick := w.leaveUnpublished()
	require.Equal(t, ids[0], tick.Fresh[0].ID)
	for range 2 {
		w.runDispatcher()
	}

	w.awaitDeliveries(2)

	emitted := w.emitted()
	require.Equal(t, w.top.Deliver(message.DefaultDestination, ids[0]), emitted[0].Subject)
	require.Equal(t, events.OriginRelay, emitted[0].Header.Get(events.HeaderOrigin))
	require.Greater(t, emitted[0].Time.Sub(claimed), 5*time.Second, "its owner could have published it until then")
	require.Equal(t, events.OriginTick, emitted[1].Header.Get(events.HeaderOrigin))
	require.GreaterOrEqual(t, emitted[1].Time.Sub(emitted[0].Time), interval)
}

func TestAnOldClaimIsNotRepeatedWhereItWasPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "PROCESSING_INTERVAL", "1h", "BATCH_SIZE", "3")
	ids := w.insert(drafts(3)...)
	tick := w.leaveUnpublished()
	// So long ago that the stream has forgotten the ids: one still waits, one
	// was sent already, and one was never published.
	w.sql("UPDATE outbox SET created_at = created_at - interval '1 minute'")
	w.emit(events.OriginTick, tick.Fresh[0])
	recorded, err := w.store.Record(t.Context(), []db.Outcome{{
		ID: ids[1], Move: message.Succeed, Version: 3, Claim: 1, NextClaim: 1, Delivery: 1, Attempts: 1, EndedAt: time.Now(),
	}}, time.Hour)
	require.NoError(t, err)
	require.Equal(t, 1, recorded)

	w.runDispatcher()

	require.Eventually(t, func() bool {
		claims, err := w.store.UnpublishedClaims(t.Context())
		return err == nil && len(claims) == 0
	}, patience, 10*time.Millisecond)
	emitted := w.emitted()
	require.Len(t, emitted, 2)
	require.EqualValues(t, 2, w.deliveries().State.LastSeq)
	require.Equal(t, events.OriginTick, emitted[0].Header.Get(events.HeaderOrigin))
	require.Equal(t, w.top.Deliver(message.DefaultDestination, ids[2]), emitted[1].Subject)
	require.Equal(t, events.OriginRelay, emitted[1].Header.Get(events.HeaderOrigin))
}

func TestABadOutboxRowHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sql("INSERT INTO outbox (batch, created_at) SELECT '\\x00', now() - interval '1 hour' FROM generate_series(1, 60)")
	id := w.insert(draft())[0]
	w.sql("UPDATE outbox SET created_at = now() - interval '1 hour'")

	w.runDispatcher()

	require.ElementsMatch(t, []message.EventType{message.EventCreated, message.EventQueued}, kinds(w.events(id, 2)),
		"after more bad rows than a batch holds")
	require.Eventually(t, func() bool {
		rows, _, err := w.store.OutboxBacklog(t.Context())
		return err == nil && rows == 60
	}, patience, 10*time.Millisecond, "they stay where they are")
}

func TestATickThatIsTooFarAwayIsPulledBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "PROCESSING_INTERVAL", "500ms")
	w.sql("UPDATE schedule SET next_tick_at = now() + interval '1 day'") // as a clock that was set back makes it
	w.insert(drafts(2)...)
	w.runDispatcher()
	w.awaitDeliveries(2)
}

func TestADispatcherStopsAlthoughEverythingIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withRedis()
	postgres, redis := w.behind("DATABASE_URL"), w.behind("REDIS_URL")
	running := w.runDispatcher("DATABASE_URL", postgres.url, "REDIS_URL", redis.url)
	w.awaitControl()
	postgres.cut()
	redis.cut()
	w.stopNATS()
	running.stop()
}

func TestTheContinuousModeIsBoundedByWhatIsQueued(t *testing.T) {
	t.Parallel()
	const bound, more = 10_000, 700
	w := newWorld(t)
	for range (bound + more) / 100 {
		w.insert(drafts(100)...)
	}
	w.runDispatcher()
	w.runDispatcher()
	w.awaitDeliveries(bound)
	require.Never(t, func() bool { return w.deliveries().State.Msgs > bound }, moment, 10*time.Millisecond)

	w.runSender()
	require.Eventually(t, func() bool {
		overview, err := w.store.Overview(t.Context())
		return err == nil && overview.Counts[message.Sent] == bound+more
	}, patience, 50*time.Millisecond)
	require.Empty(t, w.webhook.repeated())
}

func TestTheContinuousModeIsOnTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runDispatcher()
	w.runSender()
	first := w.insert(draft())[0]
	w.await(first, message.Sent)

	due := time.Now().Add(1500 * time.Millisecond)
	ahead := w.insert(draft(func(m *message.Message) { m.DeliverAt = due }))[0]
	m := w.await(ahead, message.Sent)
	require.False(t, m.QueuedAt.Before(due))

	failed := w.insert(draft())[0]
	w.await(failed, message.Sent)
	w.sql("UPDATE messages SET status = 'FAILED' WHERE id = $1", failed)
	_, err := w.store.Retry(t.Context(), failed, nil)
	require.NoError(t, err)
	w.await(failed, message.Sent) // no event tells of a retry
}

func TestALostIDIsEmittedAnewAtThePaceAndOneOnItsWayIsNot(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	w := newWorld(t, "PROCESSING_INTERVAL", interval.String(), "BATCH_SIZE", "1", "LEASE", "1s")
	ids := w.insert(drafts(3)...)
	w.runDispatcher()
	w.awaitDeliveries(3)
	stream, err := w.js.Stream(t.Context(), w.top.DeliveriesStream())
	require.NoError(t, err)
	for _, id := range ids[:2] {
		require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeSubject(w.top.Deliver(message.DefaultDestination, id))))
	}
	fresh := w.insert(drafts(2)...)

	w.awaitDeliveries(5)

	emitted := w.emitted()
	var origins []string
	for i, msg := range emitted[1:] { // the first is the one that was not lost
		origins = append(origins, msg.Header.Get(events.HeaderOrigin))
		require.GreaterOrEqual(t, msg.Time.Sub(emitted[i].Time), interval)
	}
	require.Equal(t, w.top.Deliver(message.DefaultDestination, ids[2]), emitted[0].Subject)
	slices.Sort(origins)
	require.Equal(t, []string{events.OriginReclaim, events.OriginReclaim, events.OriginTick, events.OriginTick}, origins)
	for _, id := range ids[:2] {
		require.Equal(t, "2", w.awaitOn(w.top.Deliver(message.DefaultDestination, id)).Header.Get(events.HeaderClaim))
	}
	for _, id := range append(fresh, ids[2]) {
		m, err := w.store.Get(t.Context(), id)
		require.NoError(t, err)
		require.EqualValues(t, 1, m.Claim)
	}
}

func TestAParkedMessageIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "LEASE", "1s", "RETRY_BASE", "1h", "RETRY_MAX", "1h")
	w.webhook.answers(failing(1))
	w.runDispatcher()
	w.runSender()
	id := w.insert(draft())[0]
	parked := w.await(id, message.Retrying)
	w.awaitOn(w.top.Park(message.DefaultDestination, id))
	w.sql("UPDATE messages SET lease_until = now() - interval '1 minute'")

	require.Eventually(t, func() bool {
		lost, err := w.store.LeasesLost(t.Context(), 1)
		return err == nil && len(lost) == 0
	}, patience, 10*time.Millisecond, "its lease is renewed")
	m, err := w.store.Get(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, parked.Claim, m.Claim)
	require.Len(t, w.webhook.received(""), 1)
}

func TestTwentyClaimsWithoutAnOutcomeEndFailed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "LEASE", "1s")
	m := w.claimed(draft())[0]
	w.sql("UPDATE messages SET fruitless = 20, lease_until = now()")

	w.runDispatcher()

	require.Equal(t, "no_outcome", w.await(m.ID, message.Failed).LastError)
	told := w.events(m.ID, 1)
	require.Equal(t, []message.EventType{message.EventFailed}, kinds(told))
	require.EqualValues(t, 0, w.deliveries().State.LastSeq)
}

func TestWhatExpiresIsToldEvenThoughNATSIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "PROCESSING_INTERVAL", "1h")
	w.runDispatcher()
	require.Eventually(t, func() bool { // the first tick is over
		pace, err := w.store.Pace(t.Context())
		return err == nil && pace.Wait > 0
	}, patience, 10*time.Millisecond)
	w.stopNATS()
	soon := time.Now().Add(300 * time.Millisecond)
	id := w.insert(draft(func(m *message.Message) { m.ExpiresAt = &soon }))[0]

	w.await(id, message.Expired)
	w.startNATS()

	require.ElementsMatch(t, []message.EventType{message.EventCreated, message.EventExpired}, kinds(w.events(id, 2)))
}

// control sends a control request and returns what a dispatcher answers.
func (w *world) control(verb, body string) (message.Overview, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	answer, err := events.Ask(ctx, w.js.Conn(), w.top.Control(verb), []byte(body))
	if err != nil {
		return message.Overview{}, err
	}
	var overview message.Overview
	require.NoError(w.t, json.Unmarshal(answer, &overview))
	return overview, nil
}

// awaitControl waits until a dispatcher answers.
func (w *world) awaitControl() {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		_, err := events.Ask(ctx, w.js.Conn(), w.top.Control("status"), nil)
		return err == nil
	}, patience, 10*time.Millisecond)
}

func TestStopAnswersOnceNothingIsLeftToEmit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insert(draft())
	tick := w.leaveUnpublished()
	w.runDispatcher()
	w.runDispatcher()
	w.awaitControl()

	overview, err := w.control("stop", "")

	require.NoError(t, err)
	require.Equal(t, message.StateStopped, overview.State)
	require.True(t, *overview.Changed)
	emitted := w.deliveries().State
	require.EqualValues(t, 1, emitted.Msgs, "what was claimed before is emitted")
	require.Equal(t, 1, tick.Size())
	w.insert(drafts(5)...)
	require.Never(t, func() bool { return w.deliveries().State.LastSeq > emitted.LastSeq }, 2*moment, 10*time.Millisecond)

	overview, err = w.control("stop", "")
	require.NoError(t, err)
	require.False(t, *overview.Changed)
	overview, err = w.control("start", "")
	require.NoError(t, err)
	require.True(t, *overview.Changed)
	require.Equal(t, message.StateRunning, overview.State)
	w.awaitDeliveries(6)
}

func TestAStopThatCantPublishSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insert(draft())
	w.leaveUnpublished()
	w.sql("UPDATE outbox SET batch = '\\x00' WHERE is_claim")
	w.runDispatcher()
	w.awaitControl()

	_, err := w.control("stop", "")

	refused := requireRefusal(t, err, 503)
	require.Contains(t, string(refused.Body), `"code":"claim_unpublished"`)
	pace, err := w.store.Pace(t.Context())
	require.NoError(t, err)
	require.False(t, pace.Running, "it is stopped all the same")
}

func requireRefusal(t *testing.T, err error, status int) *events.ServiceError {
	t.Helper()
	var refused *events.ServiceError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, strconv.Itoa(status), refused.Code)
	return refused
}

func TestThePaceIsConfiguredOverNATS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "PROCESSING_INTERVAL", "1h")
	w.insert(drafts(2)...)
	for range 3 {
		w.runDispatcher()
	}
	w.awaitControl()
	w.awaitDeliveries(2) // the first tick
	w.insert(drafts(4)...)

	overview, err := w.control("configure", `{"interval":"500ms","batchSize":1}`)
	require.NoError(t, err)
	require.Equal(t, message.Duration(500*time.Millisecond), overview.Interval)
	require.Equal(t, 1, overview.BatchSize)
	changed := time.Now()
	w.awaitDeliveries(3)
	require.Less(t, time.Since(changed), 5*time.Second, "sleepers notice")

	_, err = w.control("configure", `{"interval":"soon","batchSize":0}`)
	require.Contains(t, string(requireRefusal(t, err, 422).Body), `"field":"batchSize"`)
	_, err = w.control("configure", `no`)
	require.Contains(t, string(requireRefusal(t, err, 400).Body), `"code":"malformed"`)

	require.Eventually(t, func() bool {
		overview, err = w.control("status", "")
		return err == nil && len(overview.Instances) == 3
	}, patience, 100*time.Millisecond, "all three are known")
	require.Nil(t, overview.Changed)
	require.Equal(t, "dispatcher", overview.Instances[0].Service)
}

// sql changes the database behind everybody's back.
func (w *world) sql(statement string, args ...any) {
	w.t.Helper()
	pool, err := db.Open(w.t.Context(), w.env["DATABASE_URL"], db.Options{Name: "test sql", MaxConns: 1})
	require.NoError(w.t, err)
	defer pool.Close()
	_, err = pool.Exec(w.t.Context(), statement, args...)
	require.NoError(w.t, err)
}
