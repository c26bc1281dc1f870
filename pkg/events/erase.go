package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/nats-io/nats.go/jetstream"
)

// Held is a message that a stream keeps.
type Held struct {
	Subject string
	Headers http.Header
	Data    []byte
}

// Remove goes through everything that a stream holds when it begins and
// removes what matches, beyond recovery. It returns how many it removed. It
// may be repeated; ctx ends it between two messages.
func Remove(ctx context.Context, js jetstream.JetStream, name string, matches func(Held) bool) (removed int, err error) {
	return search(ctx, js, name, matches, func(stream jetstream.Stream, sequence uint64) error {
		err := stream.SecureDeleteMsg(ctx, sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil // taken meanwhile
		}
		return err
	})
}

// Count is Remove without removing anything.
func Count(ctx context.Context, js jetstream.JetStream, name string, matches func(Held) bool) (int, error) {
	return search(ctx, js, name, matches, func(jetstream.Stream, uint64) error { return nil })
}

func search(ctx context.Context, js jetstream.JetStream, name string, matches func(Held) bool, found func(jetstream.Stream, uint64) error) (n int, err error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("look up stream %s: %w", name, err)
	}
	last := stream.CachedInfo().State.LastSeq
	for sequence := stream.CachedInfo().State.FirstSeq; sequence <= last; sequence++ {
		msg, err := stream.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break // nothing from here on
		}
		if err != nil {
			return n, fmt.Errorf("read stream %s from %d: %w", name, sequence, err)
		}
		if sequence = msg.Sequence; sequence > last || !matches(Held{msg.Subject, http.Header(msg.Header), msg.Data}) {
			continue
		}
		if err := found(stream, sequence); err != nil {
			return n, fmt.Errorf("remove message %d from stream %s: %w", sequence, name, err)
		}
		n++
	}
	return n, nil
}

// WithoutRecipient leaves out of an outbox batch the events that tell of
// messages to somebody. left is 0 when there is none, or when the batch can't
// be read, which its relay tells.
func WithoutRecipient(batch []byte, to string) (rest []byte, left int) {
	entries, err := Decode(batch)
	if err != nil {
		return batch, 0
	}
	kept := entries[:0]
	for _, entry := range entries {
		var event struct {
			Data struct {
				To string `json:"to"`
			} `json:"data"`
		}
		if json.Unmarshal(entry.Data, &event) == nil && event.Data.To == to {
			left++
			continue
		}
		kept = append(kept, entry)
	}
	if left == 0 {
		return batch, 0
	}
	return Encode(kept), left
}
