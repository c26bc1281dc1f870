package settings

import "fmt"

// What EVENT_CONTENT takes. Several services read it.
const (
	EventContentNone = "none"
	EventContentFull = "full"
)

// ValidEventContent reports a mistake in EVENT_CONTENT.
func ValidEventContent(content string) error {
	if content != EventContentNone && content != EventContentFull {
		return Invalid("EVENT_CONTENT", content, "must be none or full")
	}
	return nil
}

// MaxPayloadBytes bounds MAX_PAYLOAD_BYTES: a payload must fit a request.
const MaxPayloadBytes = 8 << 20

// ValidPayloadBytes reports a mistake in MAX_PAYLOAD_BYTES, which several
// services read.
func ValidPayloadBytes(n int) error {
	if n < 1 || n > MaxPayloadBytes {
		return Invalid("MAX_PAYLOAD_BYTES", n, fmt.Sprintf("must be from 1 to %d", MaxPayloadBytes))
	}
	return nil
}
