package events

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// notedAtOnce is how many messages a note names at most: few enough for one
// question to Postgres, and for NATS' default max_payload.
const notedAtOnce = 1000

// Changed returns the notes that say which messages a transaction has changed.
// They are for the copy in Redis: one for all that changed together costs a
// fraction of reading everybody's events.
func (c Composer) Changed(messages []message.Message) []Entry {
	ids := make([]message.ID, len(messages))
	for i, m := range messages {
		ids[i] = m.ID
	}
	notes := c.Noted(ids)
	for i := range notes {
		// A message reaches a version once, so that no other note begins so.
		first := messages[i*notedAtOnce]
		notes[i].MsgID = first.ID.String() + ".v" + strconv.FormatInt(first.Version, 10) + ".changed"
	}
	return notes
}

// Noted is Changed for messages that are known by their ids alone. Called
// again it returns other notes, which say the same.
func (c Composer) Noted(ids []message.ID) []Entry {
	var notes []Entry
	for len(ids) > 0 {
		some := ids[:min(len(ids), notedAtOnce)]
		ids = ids[len(some):]
		var lines strings.Builder
		for _, id := range some {
			lines.WriteString(id.String())
			lines.WriteByte('\n')
		}
		notes = append(notes, Entry{
			Subject: c.topology.Changed(), MsgID: message.NewID(time.Now()).String(), Data: []byte(lines.String()),
		})
	}
	return notes
}

// ReadNote returns the messages that a note names, a line for each.
func ReadNote(note []byte) ([]message.ID, error) {
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
