package message

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"
)

// The limits of a request that no setting changes. Bytes are those of UTF-8.
const (
	MaxRecipientBytes      = 256
	MaxTypeBytes           = 128
	MaxMetadataPairs       = 16
	MaxMetadataKeyBytes    = 64
	MaxMetadataValueBytes  = 512
	MaxIdempotencyKeyBytes = 255
)

// Request is a message as somebody asks for it. It holds what was given and
// nothing else: an absent field is empty or nil. Only one that a Rules read
// can become a Message.
type Request struct {
	To             string            `json:"to,omitempty"` // as it was given, also under the name phoneNumber
	Content        string            `json:"content,omitempty"`
	Payload        json.RawMessage   `json:"payload,omitempty"` // the bytes as they came
	Destination    string            `json:"destination,omitempty"`
	Type           string            `json:"type,omitempty"`
	Priority       *int              `json:"priority,omitempty"`
	DeliverAt      *time.Time        `json:"deliverAt,omitempty"` // UTC, to the microsecond, as Postgres keeps it
	ExpiresAt      *time.Time        `json:"expiresAt,omitempty"` // the same
	Metadata       map[string]string `json:"metadata,omitempty"`
	IdempotencyKey string            `json:"idempotencyKey,omitempty"`

	recipient string // To in the form in which it is stored
}

// RecipientKind says what the recipients of a destination are.
type RecipientKind string

// The kinds of recipient.
const (
	RecipientPhone RecipientKind = "phone" // phone numbers, made E.164
	RecipientAny   RecipientKind = "any"   // free text
)

// Rules are the limits that settings give, and the destinations that exist.
type Rules struct {
	MaxContentLength int // Unicode code points
	MaxPayloadBytes  int
	Destinations     map[string]RecipientKind
}

// RequestMeta is what came with a request but not in its body. The body may
// repeat it and must not contradict it.
type RequestMeta struct {
	Destination    string // from the subject; empty where there is none
	IdempotencyKey string // from a header; empty for none
	KeyHeader      string // the name of that header, for mistakes in it
}

// Parse reads a request that is all in its body: ParseWith without anything
// from outside.
func (r Rules) Parse(body []byte, now time.Time) (Request, error) {
	return r.ParseWith(body, now, RequestMeta{})
}

// ParseWith reads a request and holds it against the rules as of now. A
// request that comes out of a stream again and again is read with its time in
// the stream, so that it is judged the same each time.
//
// The error is a *Malformed for a body that is no JSON object, an *Invalid
// with every mistake at once otherwise. A null counts as absent, except that
// a payload without a content beside it may be the JSON value null. The
// request shares nothing with body. Rules are safe for concurrent use.
func (r Rules) ParseWith(body []byte, now time.Time, outside RequestMeta) (Request, error) {
	if err := checkObject(body); err != nil {
		return Request{}, err
	}
	in := reader{rules: r, now: now, outside: outside}
	in.collect(body)
	in.destination()
	in.recipient()
	in.contentOrPayload()
	in.eventType()
	in.priority()
	in.times()
	in.metadata()
	in.idempotencyKey()
	if len(in.errs) > 0 {
		return Request{}, &ValidationError{Errors: in.errs}
	}
	return in.request, nil
}

// Message makes the message that the request asks for, with defaults for
// what it leaves open. A zero DeliverAt means at once by Postgres' clock, which
// also sees to it that a time long past does not jump the queue. scope says whose idempotency keys these are; without a key there is
// no BodyHash.
func (r Request) Message(id ID, scope string) Message {
	m := Message{
		ID:             id,
		To:             r.recipient,
		Content:        r.Content,
		Payload:        r.Payload,
		Destination:    r.Destination,
		Type:           r.Type,
		Priority:       DefaultPriority,
		ExpiresAt:      r.ExpiresAt,
		Metadata:       r.Metadata,
		Status:         Pending,
		Version:        1,
		IdempotencyKey: r.IdempotencyKey,
		Scope:          scope,
	}
	if r.Destination == "" {
		m.Destination = DefaultDestination
	}
	if r.Priority != nil {
		m.Priority = *r.Priority
	}
	if r.DeliverAt != nil {
		m.DeliverAt = *r.DeliverAt
	}
	if r.IdempotencyKey != "" {
		m.BodyHash = r.bodyHash()
	}
	return m
}

// CheckIdempotencyKey returns what is wrong with an idempotency key, nil for
// nothing. Its Field is idempotencyKey; for a header, put in the header's
// name.
func CheckIdempotencyKey(key string) *FieldError {
	wrong := func(code, text string) *FieldError {
		return &FieldError{Field: fieldNames[fieldIdempotencyKey], Code: code, Message: text}
	}
	switch {
	case key == "":
		return wrong(CodeBlank, "must not be empty")
	case len(key) > MaxIdempotencyKeyBytes:
		return wrong(CodeTooLong, fmt.Sprintf("must be at most %d bytes long, is %d", MaxIdempotencyKeyBytes, len(key)))
	case !utf8.ValidString(key): // a header may carry any bytes
		return wrong(CodeInvalidCharacter, "must be valid UTF-8")
	case hasControl(key):
		return wrong(CodeInvalidCharacter, "must not hold control characters")
	}
	return nil
}

func hasControl(text string) bool {
	for _, r := range text {
		if unicode.IsControl(r) {
			return true
		}
	}
	return false
}

// isBlank reports whether nothing in a text can be seen: only white space,
// control and format characters (a zero width space is one of these).
func isBlank(text string) bool {
	for _, r := range text {
		if !unicode.IsSpace(r) && !unicode.In(r, unicode.Cc, unicode.Cf) {
			return false
		}
	}
	return true
}
