package crash_test

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/checker"
)

func dispatcherScenarios() []scenario {
	claimed := []failpoint.Point{failpoint.TickClaimed}
	slow := map[string]string{"PROCESSING_INTERVAL": "1h"}
	// Elsewhere the lease is long: it would bring back what another step lost.
	short := map[string]string{"LEASE": "2s"}
	single := map[string]string{"LEASE": "2s", "BATCH_SIZE": "1"}
	list := []scenario{
		{point: failpoint.RelayChecked, before: claimed, work: fourDue},
		{point: failpoint.RelayRaised, before: claimed, work: fourDue},
		{point: failpoint.RelayPublished, how: "of a claim", before: claimed, work: fourDue},
		{point: failpoint.PublishPartSent, how: "of a relayed claim", before: claimed, passing: ":2+50ms", work: fourDue},
		{point: failpoint.PublishPartAcked, how: "of a relayed claim", before: claimed, passing: ":2", work: fourDue},
		{point: failpoint.RelayLocked, work: abandoned},
		{point: failpoint.RelayPublished, work: abandoned},
		{point: failpoint.TickWoken, work: oneDue},
		{point: failpoint.TickClaimed, work: fourDue},
		{point: failpoint.PublishPartSent, passing: ":2+50ms", work: fourDue},
		{point: failpoint.PublishPartAcked, passing: ":2", work: fourDue},
		{point: failpoint.TickPublished, work: fourDue},

		{point: failpoint.SweepAsked, settings: short, prepare: senderAway, work: one, after: senderBack},
		{point: failpoint.SweepRenewed, settings: short, prepare: senderAway, work: one, after: senderBack},
		{point: failpoint.SweepFound, settings: short, prepare: senderAway, work: lost, after: senderBack},
		{point: failpoint.TickClaimed, how: "of what was lost", prepare: senderAway, before: []failpoint.Point{failpoint.SweepFound}, settings: single, work: lost, after: senderBack},
		{point: failpoint.TransitionsCommitted, how: "of an expiry", settings: slow, work: expires},
		{point: failpoint.TransitionsPublished, how: "of an expiry", settings: slow, work: expires},
		{point: failpoint.TransitionsCommitted, how: "of a giving up", settings: short, prepare: senderAway, work: hopeless, after: senderBack},
		{point: failpoint.TransitionsPublished, how: "of a giving up", settings: short, prepare: senderAway, work: hopeless, after: senderBack},
		{point: failpoint.RetentionStep, settings: map[string]string{"RETENTION": "1h"}, prepare: past, between: past, work: waitsForThePast},
		{point: failpoint.CountsFolded, work: waits},

		{point: failpoint.RecorderFetched, work: four},
		{point: failpoint.RecorderStored, work: four},
		{point: failpoint.RecorderNotified, work: four},
		{point: failpoint.RecorderPartAcked, work: four},
		{point: failpoint.RecorderPartAcked, how: "and the ack has arrived", passing: "+100ms", work: four},
		{point: failpoint.ProjectorRead, redis: true, work: four},
		{point: failpoint.ProjectorCopied, redis: true, work: four},
		{point: failpoint.ProjectorPartAcked, redis: true, work: four},
		{point: failpoint.ProjectorReset, how: "by a Redis that lost everything", redis: true, work: forgets},
		{point: failpoint.ProjectorReset, how: "by a Redis that lost something", redis: true, work: falls},
		{point: failpoint.ProjectorRestarted, redis: true, work: forgets},
		{point: failpoint.ProjectorRestarted, how: "after Redis lost something", redis: true, work: falls},

		{point: failpoint.RepairStarted, work: fallsBack},
		{point: failpoint.RepairRead, work: fallsBack},
		{point: failpoint.RepairRestored, work: fallsBack},

		{point: failpoint.PaceChanged, how: "by a stop", work: stopsAndStarts},
		{point: failpoint.PaceChanged, how: "by a start", passing: ":2", work: stopsAndStarts},
		{point: failpoint.PaceChanged, how: "by a stop with a claim that is not published", before: claimed, work: stopsAClaim},
		{point: failpoint.PaceStopped, work: stopsAndStarts},
		{point: failpoint.PaceStopped, how: "with a claim that was relayed", before: claimed, work: stopsAClaim},
		{point: failpoint.PaceConfigured, work: configures},
	}
	for n := range list {
		list[n].victim = "dispatcher"
	}
	return list
}

// abandoned is what an ingest left that died before it could announce it.
func abandoned(i *installation) { i.insert(2) }

// lost is an id that is on no stream any more, one for each death.
func lost(i *installation) {
	for range i.times {
		i.lose(i.post(body("hello")))
	}
}

// hopeless is one that was lost twenty times.
func hopeless(i *installation) {
	p := i.post(body("hello"))
	i.lose(p)
	i.exec("UPDATE messages SET claims_without_outcome = 20 WHERE id = $1", p.id)
	p.status, p.calls, p.hopeless = message.Failed, 0, true
}

// expires is never emitted.
func expires(i *installation) {
	i.eventually("the first tick is over, the next one is an hour away", func() bool {
		overview, err := i.store.Overview(i.t.Context())
		return err == nil && overview.LastTickAt != nil
	})
	p := i.post(body("hello", inSeconds("expiresAt", 1)))
	p.status, p.calls = message.Expired, 0
}

// past is what became final long ago.
func past(i *installation) {
	for _, p := range i.insertAt(time.Now().Add(-3*time.Hour), 2) {
		_, err := i.pool.Exec(i.t.Context(), "UPDATE messages SET status = 'CANCELLED', updated_at = now() - interval '2 hours' WHERE id = $1", p.id)
		if err != nil {
			i.t.Error(err)
		}
		p.calls, p.gone = 0, true
	}
}

// waitsForThePast does nothing: a dispatcher looks for it when it starts.
func waitsForThePast(i *installation) { i.quiet = 10 * time.Second }

// waits leaves it to time that the victim passes.
func waits(i *installation) {
	i.post(body("hello"))
	i.quiet = 10 * time.Second
}

func (i *installation) copied() (*redis.Client, string) {
	options, err := redis.ParseURL(i.env["REDIS_URL"])
	require.NoError(i.t, err)
	client := redis.NewClient(options)
	i.t.Cleanup(func() { client.Close() })
	return client, i.env["PREFIX"] + ":copied"
}

// forgets copies a message and then loses the marker that says so.
func forgets(i *installation) {
	i.post(body("hello"))
	i.settle()
	client, marker := i.copied()
	require.NoError(i.t, client.Del(i.t.Context(), marker).Err())
	i.quiet = 3 * time.Second
}

// falls is a Redis that comes back with what it held some time ago.
func falls(i *installation) {
	i.post(body("hello"))
	i.settle()
	client, marker := i.copied()
	require.NoError(i.t, client.HSet(i.t.Context(), marker, "sequence", 1).Err())
	i.quiet = 3 * time.Second
}

// fallsBack is a Postgres that has lost the claim of a message, and all that
// came after it.
func fallsBack(i *installation) {
	p := i.post(body("hello"))
	i.settle()
	tx, err := i.pool.Begin(i.t.Context())
	require.NoError(i.t, err)
	for _, statement := range []string{
		"DELETE FROM attempts WHERE message_id = $1",
		`UPDATE messages SET status = 'PENDING', claim_number = 0, version = 1, attempts = 0, claims_without_outcome = 0,
			queued_at = NULL, sent_at = NULL, external_id = NULL, lease_until = NULL WHERE id = $1`,
	} {
		_, err = tx.Exec(i.t.Context(), statement, p.id)
		require.NoError(i.t, err)
	}
	_, err = tx.Exec(i.t.Context(), "UPDATE schedule SET trusted_timeline = NULL, commits_lost_at = clock_timestamp() - interval '10 seconds', fast_path_lease = NULL")
	require.NoError(i.t, err)
	require.NoError(i.t, tx.Commit(i.t.Context()))
}

// stopsAClaim stops the pace once a tick has claimed something.
func stopsAClaim(i *installation) {
	p := i.post(body("hello", inSeconds("deliverAt", tickSoon)))
	i.eventually("it is claimed", func() bool {
		m, err := i.store.Get(i.t.Context(), p.id)
		return err == nil && m.Status != message.Pending
	})
	stopsAndStarts(i)
}

// stopsAndStarts stops the pace, sees that it stands, and starts it again.
func stopsAndStarts(i *installation) {
	i.post(body("hello"))
	require.Equal(i.t, message.StateStopped, i.pace(http.MethodPost, "/stop", "").State)
	stopped, emitted := time.Now(), i.emitted()
	i.post(body("hello"))
	require.Equal(i.t, message.StateStopped, i.pace(http.MethodGet, "/status", "").State)
	require.Equal(i.t, emitted, i.emitted(), "emitted after a stop was answered")
	i.stops = append(i.stops, checker.Stop{From: stopped, Until: time.Now()})
	require.Equal(i.t, message.StateRunning, i.pace(http.MethodPost, "/start", "").State)
}

// emitted counts the ids that were ever put on the work queue.
func (i *installation) emitted() uint64 {
	stream, err := i.js.Stream(i.t.Context(), i.top.DeliveriesStream())
	require.NoError(i.t, err)
	return stream.CachedInfo().State.LastSeq
}

func (i *installation) pace(method, path, text string) message.Overview {
	i.t.Helper()
	contentType := ""
	if text != "" {
		contentType = "application/json"
	}
	status, answer := i.client(method, "/api/v1/messaging"+path, contentType, text)
	require.Equal(i.t, http.StatusOK, status, "%s", answer)
	var overview message.Overview
	require.NoError(i.t, json.Unmarshal(answer, &overview))
	return overview
}

func configures(i *installation) {
	require.Equal(i.t, 7, i.pace(http.MethodPatch, "", `{"batchSize":7}`).BatchSize)
	i.post(body("hello"))
}
