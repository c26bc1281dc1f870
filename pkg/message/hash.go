package message

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
	"strconv"
	"time"
)

// bodyHash tells whether two requests under one idempotency key ask for the
// same: it is the SHA-256 of the request as canonical JSON, without the key
// and before defaults. Hashes are stored, so the form never changes: a new
// field is left out while it is absent.
//
// White space, escapes, the order of keys (also within the payload), the name
// phoneNumber and the zone of a time make no difference. How a number in the
// payload is written does.
func (r *Request) bodyHash() []byte {
	var scratch [1024]byte
	sum := sha256.Sum256(r.appendCanonical(scratch[:0]))
	return sum[:]
}

func (r *Request) appendCanonical(b []byte) []byte {
	b = append(b, '{')
	b = appendTextMember(b, "content", r.Content)
	b = appendTimeMember(b, "deliverAt", r.DeliverAt)
	b = appendTextMember(b, "destination", r.Destination)
	b = appendTimeMember(b, "expiresAt", r.ExpiresAt)
	if len(r.Metadata) > 0 {
		b = append(appendName(b, "metadata"), '{')
		for _, key := range sortedKeys(r.Metadata) {
			b = appendQuoted(appendName(b, key), r.Metadata[key])
		}
		b = append(b, '}')
	}
	if r.Payload != nil {
		b = appendCanonical(appendName(b, "payload"), r.Payload)
	}
	if r.Priority != nil {
		b = strconv.AppendInt(appendName(b, "priority"), int64(*r.Priority), 10)
	}
	b = appendTextMember(b, "to", r.To)
	b = appendTextMember(b, "type", r.Type)
	return append(b, '}')
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, MaxMetadataPairs)
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func appendTextMember(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return appendQuoted(appendName(b, name), text)
}

func appendTimeMember(b []byte, name string, t *time.Time) []byte {
	if t == nil {
		return b
	}
	b = append(appendName(b, name), '"')
	b = t.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// appendName begins a member of an object.
func appendName(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(appendQuoted(b, name), ':')
}

// appendQuoted escapes what must be escaped and nothing else, so that a text
// has one form.
func appendQuoted(b []byte, text string) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// appendCanonical writes any valid JSON value in its one form. A repeated key
// stays, in its order: what a receiver makes of it is the receiver's choice.
func appendCanonical(b, value []byte) []byte {
	switch value[0] {
	case '"':
		if bytes.IndexByte(value, '\\') < 0 {
			return append(b, value...)
		}
		return appendQuoted(b, unquote(value))
	case '[':
		b = append(b, '[')
		walk := elementsOf(value)
		for item := walk.next(); item != nil; item = walk.next() {
			if b[len(b)-1] != '[' {
				b = append(b, ',')
			}
			b = appendCanonical(b, item)
		}
		return append(b, ']')
	case '{':
		b = append(b, '{')
		for _, m := range sortedMembers(value) {
			b = appendCanonical(appendName(b, m.name), m.value)
		}
		return append(b, '}')
	}
	return append(b, value...)
}

type member struct {
	name  string
	value []byte
}

func sortedMembers(object []byte) []member {
	var members []member
	walk := elementsOf(object)
	for key := walk.next(); key != nil; key = walk.next() {
		members = append(members, member{unquote(key), walk.next()})
	}
	slices.SortStableFunc(members, func(a, b member) int { return cmp.Compare(a.name, b.name) })
	return members
}
