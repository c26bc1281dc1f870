package events

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// maxChanges is how many messages a note names at most: few enough for one
// question to Postgres, and for NATS' default max_payload.
const maxChanges = 1000

// ChangesSubject returns the notes that say which messages a transaction has changed.
// They are for the copy in Redis: one for all that changed together costs a
// fraction of reading everybody's events.
func (c EventBuilder) Changes(messages []message.Message) []OutboxMessage {
	ids := make([]message.ID, len(messages))
	for i, m := range messages {
		ids[i] = m.ID
	}
	notes := c.ChangesOf(ids)
	for i := range notes {
		// A message reaches a version once, so that no other note begins so.
		first := messages[i*maxChanges]
		notes[i].MsgID = first.ID.String() + ".v" + strconv.FormatInt(first.Version, 10) + ".changed"
	}
	return notes
}

// ChangesOf is Changed for messages that are known by their ids alone. Called
// again it returns other notes, which say the same.
func (c EventBuilder) ChangesOf(ids []message.ID) []OutboxMessage {
	var notes []OutboxMessage
	for len(ids) > 0 {
		some := ids[:min(len(ids), maxChanges)]
		ids = ids[len(some):]
		var lines strings.Builder
		for _, id := range some {
			lines.WriteString(id.String())
			lines.WriteByte('\n')
		}
		notes = append(notes, OutboxMessage{
			Subject: c.topology.ChangesSubject(), MsgID: message.NewID(time.Now()).String(), Data: []byte(lines.String()),
		})
	}
	return notes
}

// ParseChanges returns the messages that a note names, a line for each.
func ParseChanges(note []byte) ([]message.ID, error) {
	var ids []message.ID
	for line := range strings.Lines(string(note)) {
		id, err := message.ParseID(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("read a note of changed messages: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}
