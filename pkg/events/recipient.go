package events

import "encoding/json"

// WithoutRecipient leaves out of an outbox batch the events that tell of
// messages to somebody. left is 0 when there is none, or when the batch can't
// be read, which its relay tells.
func WithoutRecipient(batch []byte, to string) (rest []byte, left int) {
	entries, err := DecodeOutbox(batch)
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
	return EncodeOutbox(kept), left
}
