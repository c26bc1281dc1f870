package settings

import "fmt"

// Values of EVENT_CONTENT, which several services read.
const (
	EventContentNone = "none"
	EventContentFull = "full"
)

// ValidEventContent validates EVENT_CONTENT.
func ValidEventContent(content string) error {
	if content != EventContentNone && content != EventContentFull {
		return Invalid("EVENT_CONTENT", content, "must be none or full")
	}
	return nil
}

// MaxPayloadBytes is the limit of MAX_PAYLOAD_BYTES. A payload must fit into one
// request.
const MaxPayloadBytes = 8 << 20

// ValidPayloadBytes validates MAX_PAYLOAD_BYTES, which several services read.
func ValidPayloadBytes(n int) error {
	if n < 1 || n > MaxPayloadBytes {
		return Invalid("MAX_PAYLOAD_BYTES", n, fmt.Sprintf("must be from 1 to %d", MaxPayloadBytes))
	}
	return nil
}
