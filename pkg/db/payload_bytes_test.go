package db_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// large is a message with a payload of 256 KiB.
func large(m *message.Message) {
	m.Content, m.Payload = "", slices.Repeat([]byte("7"), 256<<10)
	m.Metadata = map[string]string{"order": "7"}
}

// bare requires that nothing was read of what messages carry.
func bare(t *testing.T, messages []message.Message, n int) {
	t.Helper()
	require.Len(t, messages, n)
	for _, m := range messages {
		require.Empty(t, m.Content)
		require.Nil(t, m.Payload)
		require.Nil(t, m.Metadata)
	}
}

// TestMovesReadNothingThatNobodyUses: a tick of 500 messages would read 125 MiB.
func TestMovesReadNothingThatNobodyUses(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	for range 4 {
		insert(t, store, large)
	}
	tick := claim(t, store, 10)
	bare(t, tick.Fresh, 4)
	exec(t, pool, `UPDATE messages SET lease_until = now() - interval '1 hour'`)
	lost, err := store.ExpiredLeases(t.Context(), db.ExpiredLease{}, 10)
	require.NoError(t, err)
	bare(t, claim(t, store, 10, lost...).Reclaimed, 4)
	exec(t, pool, `UPDATE messages SET lease_until = now() - interval '1 hour'`)
	lost, err = store.ExpiredLeases(t.Context(), db.ExpiredLease{}, 2)
	require.NoError(t, err)
	given, _, err := store.GiveUp(t.Context(), lost, box)
	require.NoError(t, err)
	bare(t, given, 2)
	exec(t, pool, `UPDATE messages SET status = 'PENDING', expires_at = now() - interval '1 second', lease_until = NULL WHERE status = 'QUEUED'`)
	expired, _, err := store.ExpireDue(t.Context(), 10, box)
	require.NoError(t, err)
	bare(t, expired, 2)
	erased, err := store.EraseBatch(t.Context(), draft().To, 10, box, func(context.Context, []message.ID) error { return nil })
	require.NoError(t, err)
	bare(t, erased.Messages, 4)
}

// TestMovesWhoseEventsTellContentReadSomeAtOnce and leave the rest to the next.
func TestMovesWhoseEventsTellContentReadSomeAtOnce(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	store = store.WithContent(true)
	const messages = 40
	want := draft(large)
	for range messages {
		insert(t, store, large)
	}
	claimed := map[message.ID]bool{}
	for len(claimed) < messages {
		tick := claim(t, store, 1000)
		require.NotEmpty(t, tick.Fresh)
		size := 0
		for _, m := range tick.Fresh {
			require.Equal(t, want.Payload, m.Payload)
			require.Equal(t, want.Metadata, m.Metadata)
			require.False(t, claimed[m.ID])
			claimed[m.ID] = true
			size += len(m.Payload)
		}
		require.LessOrEqual(t, size, 4<<20)
		require.True(t, tick.Full || len(claimed) == messages, "what arrives must not overtake what is left")
	}
}

func TestExpiringReadsFewMessagesWithContentAtOnce(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	store = store.WithContent(true)
	const messages = 40
	for range messages {
		insert(t, store, large)
	}
	exec(t, pool, `UPDATE messages SET expires_at = now() - interval '1 second'`)
	total := 0
	for n := -1; n != 0; total += n {
		expired, _, err := store.ExpireDue(t.Context(), 1000, box)
		require.NoError(t, err)
		require.LessOrEqual(t, len(expired), 32)
		for _, m := range expired {
			require.Len(t, m.Payload, 256<<10)
		}
		n = len(expired)
	}
	require.Equal(t, messages, total)
}

// TestASenderLoadsPayloadsThatHaveRoom, and hears of which others there are.
func TestASenderLoadsPayloadsThatHaveRoom(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	var ids []message.ID
	for range 5 {
		ids = append(ids, insert(t, store, large).ID)
	}
	small, pending := insert(t, store).ID, insert(t, store, large, func(m *message.Message) { m.Priority = 0 }).ID
	claim(t, store, 6)
	asked := append(slices.Clone(ids), small, pending)

	queued, err := store.LoadQueued(t.Context(), asked, 512<<10)
	require.NoError(t, err)
	require.Len(t, queued.Messages, 2)
	require.Len(t, queued.Deferred, 4, "a claim that is not made is neither")
	for id, m := range queued.Messages {
		require.Equal(t, get(t, store, id).Payload, m.Payload)
		require.False(t, queued.Deferred[id])
	}
	queued, err = store.LoadQueued(t.Context(), asked, 1<<30)
	require.NoError(t, err)
	require.Len(t, queued.Messages, 6)
	require.Empty(t, queued.Deferred)
	queued, err = store.LoadQueued(t.Context(), ids[:1], 0)
	require.NoError(t, err)
	require.Len(t, queued.Messages, 1, "one has room always")
}

// TestRepeatsReadNoPayloads: a batch of 1,000 keys could repeat 250 MiB.
func TestRepeatsReadNoPayloads(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	key := func(m *message.Message) { m.Scope, m.IdempotencyKey, m.BodyHash = "x", "k", []byte{1} }
	first := insert(t, store, large, key)
	again := draft(large, key)
	stored, _, err := store.Insert(t.Context(), []message.Message{again}, box)
	require.NoError(t, err)
	require.False(t, stored[0].Created)
	bare(t, []message.Message{stored[0].Message}, 1)
	require.Equal(t, first.ID, stored[0].Message.ID)
	require.Equal(t, first.BodyHash, stored[0].Message.BodyHash)
	firsts, err := store.FindByIdempotencyKey(t.Context(), []message.Message{again})
	require.NoError(t, err)
	bare(t, []message.Message{*firsts[0]}, 1)
}

// TestAListIsCutIntoPagesOfSoManyBytes that together hold everything once.
func TestAListIsCutIntoPagesOfSoManyBytes(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, 0)
	var want []message.ID
	for n := range 12 {
		edit := large
		if n%3 == 0 {
			edit = func(*message.Message) {}
		}
		want = append([]message.ID{insert(t, store, edit).ID}, want...)
	}
	for name, statuses := range map[string][]message.Status{"any": nil, "one": {message.Pending}, "several": {message.Pending, message.Sent}} {
		var got []message.ID
		filter := db.Filter{Limit: 5, MaxBytes: 600 << 10, Statuses: statuses}
		for more := true; more; {
			page, err := store.ListPage(t.Context(), filter)
			require.NoError(t, err, name)
			require.NotEmpty(t, page.Messages, name)
			size := 0
			for _, m := range page.Messages {
				size += len(m.Payload)
				got = append(got, m.ID)
			}
			require.LessOrEqual(t, size, 600<<10, name)
			more, filter.Before = page.More, &got[len(got)-1]
		}
		require.Equal(t, want, got, name)
	}
	page, err := store.ListPage(t.Context(), db.Filter{Limit: 2, MaxBytes: 1})
	require.NoError(t, err)
	require.Len(t, page.Messages, 1, "one is always there")
	require.True(t, page.More)
}

// TestARelayTakesRowsOfSoManyBytesAtOnce: fifty rows can hold 400 MiB.
func TestARelayTakesRowsOfSoManyBytesAtOnce(t *testing.T) {
	t.Parallel()
	store, pool := provisioned(t, 0)
	exec(t, pool, `INSERT INTO outbox (batch, created_at) SELECT decode(repeat('00', 1 << 20), 'hex'), now() - interval '1 hour' FROM generate_series(1, 10)`)
	exec(t, pool, `INSERT INTO outbox (batch, created_at, is_claim) SELECT decode(repeat('00', 1 << 20), 'hex'), now() - interval '1 hour', true FROM generate_series(1, 10)`)
	seen := 0
	for more, after := true, int64(0); more; {
		relayed, err := store.Relay(t.Context(), db.RelayParams{Age: time.Minute, After: after, Limit: 50}, func(_ context.Context, rows []db.OutboxRow) []db.RelayResult {
			require.LessOrEqual(t, len(rows), 4)
			seen += len(rows)
			return nil
		})
		require.NoError(t, err)
		more, after = relayed.More, relayed.Last
	}
	require.Equal(t, 10, seen)
	claims, err := store.AbandonedClaims(t.Context(), time.Minute, 50)
	require.NoError(t, err)
	require.Len(t, claims, 4)
	rewritten := 0
	_, err = store.RewriteOutbox(t.Context(), 0, func([]byte) ([]byte, bool) { rewritten++; return nil, false })
	require.NoError(t, err)
	require.Equal(t, 20, rewritten)
}
