package events_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestANoteNamesWhatChangedTogether(t *testing.T) {
	t.Parallel()
	builder := events.NewEventBuilder(events.NewTopology("dispatch", 1), false)
	ids := make([]message.ID, 2500)
	for i := range ids {
		ids[i] = message.NewID(time.Now())
	}
	notes := builder.ChangesOf(ids)
	require.Len(t, notes, 3, "none is too large")
	var read []message.ID
	seen := map[string]bool{}
	for _, note := range notes {
		require.Equal(t, "dispatch.changed", note.Subject)
		require.False(t, seen[note.MsgID])
		seen[note.MsgID] = true
		some, err := events.ParseChanges(note.Data)
		require.NoError(t, err)
		read = append(read, some...)
	}
	require.Equal(t, ids, read)
	require.False(t, seen[builder.ChangesOf(ids)[0].MsgID], "the stream must not take the second for the first")
	require.Empty(t, builder.ChangesOf(nil))
}

func TestWhatCannotBeANoteIsRefused(t *testing.T) {
	t.Parallel()
	one := message.NewID(time.Now())
	for _, note := range []string{"x", "\n", one.String() + one.String(), one.String() + "\n\n", one.String() + "\nx\n"} {
		_, err := events.ParseChanges([]byte(note))
		require.Error(t, err, "%q", note)
	}
}

// TestATransactionIsNotedOnce holds for every road by which one is published.
func TestATransactionIsNotedOnce(t *testing.T) {
	t.Parallel()
	builder := events.NewEventBuilder(events.NewTopology("dispatch", 1), false)
	waits, queued := sample(t), sample(t)
	waits.Status, queued.Status = message.Pending, message.Queued
	waits.ID = message.NewID(time.Now())
	both := []message.Message{waits, queued}
	for road, entries := range map[string][]events.OutboxMessage{
		"arrived": builder.Created(both),
		"claimed": builder.Claims(events.OriginTick, both),
		"moved":   builder.Transitions(message.EventCancelled, both),
	} {
		var noted []message.ID
		notes := 0
		for _, entry := range entries {
			if entry.Subject != "dispatch.changed" {
				continue
			}
			notes++
			some, err := events.ParseChanges(entry.Data)
			require.NoError(t, err)
			noted = append(noted, some...)
			require.Equal(t, waits.ID.String()+".v3.changed", entry.MsgID, "published again it is the same: %s", road)
		}
		require.Equal(t, 1, notes, road)
		require.Equal(t, []message.ID{waits.ID, queued.ID}, noted, road)
	}
	require.Empty(t, builder.Transitions(message.EventCreated, nil))
}
