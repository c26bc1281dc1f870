package message

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	noon  = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	rules = Rules{
		MaxContentLength: 160,
		MaxPayloadBytes:  1024,
		Destinations:     map[string]RecipientKind{"default": RecipientPhone, "crm": RecipientAny},
	}
)

func TestReadTakesEveryField(t *testing.T) {
	t.Parallel()
	r, err := rules.Parse([]byte(`{
		"to": "+1 (415) 555-01.00", "content": "Hi \u00e4\ud83d\ude00",
		"destination": "default", "type": "invoice.paid", "priority": 9,
		"deliverAt": "2030-02-01T01:00:00.1234567+01:00", "expiresAt": "2030-02-02T00:00:00Z",
		"metadata": {"order": "17"}, "idempotencyKey": "k-1"
	}`), noon)
	require.NoError(t, err)

	id := NewID(noon)
	m := r.Message(id, "shop")
	deliver := time.Date(2030, 2, 1, 0, 0, 0, 123456000, time.UTC)
	expire := time.Date(2030, 2, 2, 0, 0, 0, 0, time.UTC)
	assert.Equal(t, Message{
		ID: id, To: "+14155550100", Content: "Hi ä😀", Destination: "default", Type: "invoice.paid",
		Priority: 9, DeliverAt: deliver, ExpiresAt: &expire, Metadata: map[string]string{"order": "17"},
		Status: Pending, Version: 1, IdempotencyKey: "k-1", Scope: "shop", BodyHash: r.bodyHash(),
	}, m)
	assert.Len(t, m.BodyHash, 32)
	assert.Equal(t, "+1 (415) 555-01.00", r.To, "the request keeps what was given")
}

func TestReadGivesDefaults(t *testing.T) {
	t.Parallel()
	m := accepted(t, `{"to":"+14155550100","content":"x"}`).Message(NewID(noon), "shop")
	assert.Equal(t, DefaultDestination, m.Destination)
	assert.Equal(t, DefaultPriority, m.Priority)
	assert.True(t, m.DeliverAt.IsZero(), "Postgres' clock sets it")
	assert.Nil(t, m.ExpiresAt)
	assert.Nil(t, m.BodyHash, "nobody asks for it without a key")
}

func TestReadAccepts(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"another name for to":               `{"phoneNumber":"+14155550100","content":"x"}`,
		"both names with one value":         `{"phoneNumber":"+14155550100","to":"+14155550100","content":"x"}`,
		"escaped keys":                      `{"t\u006f":"+14155550100","cont\u0065nt":"x"}`,
		"white space all around":            " \r\n\t{ \"to\" : \"+14155550100\" ,\n\"content\" : \"x\" } \n",
		"null for absent":                   `{"to":"+14155550100","content":"x","payload":null,"type":null,"priority":null,"deliverAt":null,"metadata":null,"idempotencyKey":null,"destination":null}`,
		"priority 0":                        `{"to":"+14155550100","content":"x","priority":0}`,
		"content of 160 characters":         `{"to":"+14155550100","content":"` + strings.Repeat("😀", 160) + `"}`,
		"content with line breaks":          `{"to":"+14155550100","content":"a\nb"}`,
		"a payload of the greatest size":    `{"to":"+14155550100","payload":"` + strings.Repeat("x", 1022) + `"}`,
		"a payload with U+0000":             `{"to":"+14155550100","payload":"\u0000"}`,
		"a payload with repeated keys":      `{"to":"+14155550100","payload":{"a":1,"a":2}}`,
		"a type of one word":                `{"to":"+14155550100","content":"x","type":"a_b-9"}`,
		"the longest type":                  `{"to":"+14155550100","content":"x","type":"` + strings.Repeat("t", 128) + `"}`,
		"no metadata":                       `{"to":"+14155550100","content":"x","metadata":{}}`,
		"16 entries of metadata":            `{"to":"+14155550100","content":"x","metadata":` + pairs(16) + `}`,
		"the largest entry of metadata":     `{"to":"+14155550100","content":"x","metadata":{"` + strings.Repeat("k", 64) + `":"` + strings.Repeat("v", 512) + `"}}`,
		"the longest idempotency key":       `{"to":"+14155550100","content":"x","idempotencyKey":"` + strings.Repeat("k", 255) + `"}`,
		"free text where any is allowed":    `{"to":"user 17 / Zoë","content":"x","destination":"crm"}`,
		"the longest free text":             `{"to":"` + strings.Repeat("x", 256) + `","content":"x","destination":"crm"}`,
		"a time that is past":               `{"to":"+14155550100","content":"x","deliverAt":"0001-01-01T00:00:00Z"}`,
		"the last moment that there is":     `{"to":"+14155550100","content":"x","expiresAt":"9999-12-31T23:59:59.999999999Z"}`,
		"an escaped backslash before ud800": `{"to":"+14155550100","content":"\\ud800"}`,
		"the deepest nesting":               `{"to":"+14155550100","payload":` + strings.Repeat("[", 127) + strings.Repeat("]", 127) + `}`,
		"brackets in strings":               `{"to":"+14155550100","payload":{"]}\"":"` + strings.Repeat("[", 200) + `"},"content":null}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			accepted(t, body)
		})
	}
}

func TestAPayloadStaysAsItCame(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{`{"b" : 1.50,"a":[ "\u0041<" ]}`, `"text"`, `-1.5e300`, `true`, `null`, `[]`} {
		body := []byte(`{"to":"+14155550100","payload": ` + payload + ` }`)
		r, err := rules.Parse(body, noon)
		require.NoError(t, err)
		clear(body) // an HTTP server reuses its buffers
		m := r.Message(NewID(noon), "")
		assert.Equal(t, payload, string(m.Payload))
		assert.Equal(t, "+14155550100", m.To)
	}
}

func TestDeliverAtIsWhatWasAskedForByWhateverClock(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]time.Time{
		"2030-01-31T11:59:59Z": noon.Add(-time.Second),
		"2030-01-31T12:00:01Z": noon.Add(time.Second),
	} {
		r := accepted(t, `{"to":"+14155550100","content":"x","deliverAt":"`+at+`"}`)
		assert.Equal(t, want, r.Message(NewID(noon), "").DeliverAt, at)
	}
}

func TestWhatComesFromOutside(t *testing.T) {
	t.Parallel()
	subject := RequestMeta{Destination: "crm", IdempotencyKey: "k", KeyHeader: "Nats-Msg-Id"}
	read := func(body string, outside RequestMeta) (Message, error) {
		r, err := rules.ParseWith([]byte(body), noon, outside)
		return r.Message(NewID(noon), ""), err
	}

	m, err := read(`{"to":"anybody","content":"x"}`, subject)
	require.NoError(t, err)
	assert.Equal(t, "crm", m.Destination)
	assert.Equal(t, "k", m.IdempotencyKey)

	repeated, err := read(`{"to":"anybody","content":"x","destination":"crm","idempotencyKey":"k"}`, subject)
	require.NoError(t, err)
	assert.Equal(t, m.BodyHash, repeated.BodyHash, "where destination and key stood makes no difference")

	_, err = read(`{"to":"anybody","content":"x","destination":"default","idempotencyKey":"other"}`, subject)
	assert.Equal(t, []string{"destination conflict", "idempotencyKey conflict"}, mistakes(t, err))

	_, err = read(`{"to":"anybody","content":"x"}`, RequestMeta{Destination: "nowhere", IdempotencyKey: "\xff", KeyHeader: "Idempotency-Key"})
	assert.Equal(t, []string{"destination unknown_destination", "Idempotency-Key invalid_character"}, mistakes(t, err))

	plain, err := read(`{"to":"+14155550100","content":"x","idempotencyKey":"k"}`, RequestMeta{})
	require.NoError(t, err)
	onSubject, err := read(`{"to":"+14155550100","content":"x"}`, RequestMeta{Destination: "default", IdempotencyKey: "k"})
	require.NoError(t, err)
	assert.Equal(t, plain.BodyHash, onSubject.BodyHash, "the same body by another door is the same body")
}

func TestARequestFromAStreamIsJudgedTheSameEachTime(t *testing.T) {
	t.Parallel()
	body := []byte(`{"to":"+14155550100","content":"x","expiresAt":"2030-01-31T12:00:01Z","deliverAt":"2030-01-31T12:00:00.5Z"}`)
	r, err := rules.Parse(body, noon)
	require.NoError(t, err)
	id := DerivedID(noon, 1, "s")
	assert.Equal(t, noon.Add(500*time.Millisecond), r.Message(id, "").DeliverAt)
}

func accepted(t *testing.T, body string) Request {
	t.Helper()
	r, err := rules.Parse([]byte(body), noon)
	require.NoError(t, err)
	return r
}

// mistakes returns "field code" for every mistake.
func mistakes(t *testing.T, err error) []string {
	t.Helper()
	var invalid *ValidationError
	require.ErrorAs(t, err, &invalid)
	require.NotEmpty(t, invalid.Error())
	list := make([]string, len(invalid.Errors))
	for i, e := range invalid.Errors {
		assert.NotEmpty(t, e.Message)
		list[i] = e.Field + " " + e.Code
	}
	return list
}

func pairs(n int) string {
	metadata := map[string]string{}
	for i := range n {
		metadata[strings.Repeat("k", i+1)] = "v"
	}
	text, _ := json.Marshal(metadata)
	return string(text)
}
