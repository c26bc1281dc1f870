package events

import (
	"encoding/json"
	"fmt"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
)

// Entry is one message to publish, in the form in which the outbox keeps it.
type Entry struct {
	Subject string            `json:"s"`
	MsgID   string            `json:"i"` // Nats-Msg-Id: publishing again within the stream's window is harmless
	Headers map[string]string `json:"h,omitempty"`
	Data    json.RawMessage   `json:"d"`
}

func (e Entry) msg() *nats.Msg {
	header := make(nats.Header, len(e.Headers)+1)
	header[nats.MsgIdHdr] = []string{e.MsgID}
	for name, value := range e.Headers {
		header[name] = []string{value}
	}
	return &nats.Msg{Subject: e.Subject, Header: header, Data: e.Data}
}

// Encode packs entries for the outbox. A batch's events resemble each other,
// so that compression leaves little of them.
func Encode(entries []Entry) []byte {
	return s2.Encode(nil, marshal(entries))
}

// Decode unpacks what Encode packed.
func Decode(batch []byte) ([]Entry, error) {
	plain, err := s2.Decode(nil, batch)
	if err != nil {
		return nil, fmt.Errorf("unpack outbox batch: %w", err)
	}
	var entries []Entry
	if err := json.Unmarshal(plain, &entries); err != nil {
		return nil, fmt.Errorf("decode outbox batch: %w", err)
	}
	return entries, nil
}
