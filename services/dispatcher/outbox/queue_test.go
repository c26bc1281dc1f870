package outbox

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func builder() events.EventBuilder {
	return events.NewEventBuilder(events.NewTopology("dispatch", 1), false)
}

func claimed(claim message.ClaimNumber) message.Message {
	return message.Message{
		ID: message.NewID(time.Now()), To: "+905551111111", Content: "hello", Destination: message.DefaultDestination,
		Status: message.Queued, ClaimNumber: claim, Version: 2 * int64(claim),
	}
}

func TestARelayedClaimIsPublishedUnderItsNewNumbers(t *testing.T) {
	t.Parallel()
	fresh, done, over, held := claimed(1), claimed(1), claimed(1), claimed(3)
	entries := append(builder().Claims(events.OriginTick, []message.Message{fresh, done, over}),
		builder().Claims(events.OriginRelay, []message.Message{held})...)
	at := func(m message.Message) db.Delivery { return db.Delivery{ID: m.ID, ClaimNumber: m.ClaimNumber} }
	queue := queueState{
		places:  map[db.Delivery]place{at(done): present, at(held): occupied},
		lastSeq: map[db.Delivery]uint64{at(fresh): 7, at(held): 9},
	}

	now := queue.rewrite(events.EncodeOutbox(entries), map[message.ID]message.ClaimNumber{fresh.ID: 3})

	assert.Equal(t, 2, now.IDs, "what was published or is over is left out")
	assert.Equal(t, 4, now.Size)
	kept, err := events.DecodeOutbox(now.Batch)
	require.NoError(t, err)
	ids := slices.DeleteFunc(slices.Clone(kept), func(e events.OutboxMessage) bool { return !e.IsDelivery() })
	require.Len(t, ids, 2)
	assert.Len(t, kept, 2+6, "the events, and a note for each claim, are published in any case")
	assert.Equal(t, fresh.ID.String()+".3", ids[0].MsgID)
	assert.JSONEq(t, `{"id":"`+fresh.ID.String()+`","claim":3}`, string(ids[0].Data))
	assert.Equal(t, map[string]string{
		events.HeaderClaim: "3", events.HeaderOrigin: events.OriginRelay, natsjs.ExpectedLastSubjSeqHeader: "7",
	}, ids[0].Headers)
	assert.Equal(t, held.ID.String()+".3", ids[1].MsgID, "it waits for the delivery that is in its place")

	claim := queue.toPublish(db.OpenClaim{Batch: now.Batch})
	assert.True(t, claim.waits)
	assert.Equal(t, ids[:1], claim.entries, "the events come with the last id")
}

func TestWhereAnEmissionIs(t *testing.T) {
	t.Parallel()
	onSubject := func(claim string, sequence uint64) *natsjs.RawStreamMsg {
		return &natsjs.RawStreamMsg{Header: nats.Header{events.HeaderClaim: {claim}}, Sequence: sequence}
	}
	const delivered = 10
	for name, c := range map[string]struct {
		relayed bool
		msg     *natsjs.RawStreamMsg
		want    place
	}{
		"itself":                         {false, onSubject("3", 5), present},
		"a later one":                    {false, onSubject("4", 5), present},
		"an older one, of another claim": {false, onSubject("1", 5), absent},
		"the one that it replaces, with a sender":     {true, onSubject("1", 10), occupied},
		"the one that it replaces, not yet delivered": {true, onSubject("1", 11), absent},
		"something else": {false, onSubject("", 5), absent},
	} {
		e := emission{Delivery: db.Delivery{ClaimNumber: 3}, relayed: c.relayed}
		assert.Equal(t, c.want, e.placeBy(c.msg, delivered), name)
	}
}
