package request

import (
	"encoding/base64"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// cursorVersion is the first byte of a cursor. It allows another format later.
const cursorVersion = 1

// NewCursor returns the cursor of the page that follows a message.
func NewCursor(id message.ID) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{cursorVersion}, id[:]...))
}

func decodeCursor(text string) (id message.ID, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != 1+len(id) || raw[0] != cursorVersion || raw[7]>>4 != 7 {
		return message.ID{}, false
	}
	return message.ID(raw[1:]), true
}
