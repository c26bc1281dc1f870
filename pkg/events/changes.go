package events

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// maxChanges is how many messages a change notification names at most: few enough for one
// query to Postgres, and for NATS' default max_payload.
const maxChanges = 1000

// Changes returns the change notifications of a transaction: they name the messages that
// it changed, for the copy in Redis. One for all messages of a transaction costs a
// fraction of reading each one's event.
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

// ChangesOf is Changes for messages of which only the ids are known. Each call returns new
// notifications, with the same content.
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

// ParseChanges returns the messages that a change notification names, one a line.
func ParseChanges(note []byte) ([]message.ID, error) {
	var ids []message.ID
	for line := range strings.Lines(string(note)) {
		id, err := message.ParseID(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("read a change notification: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}
