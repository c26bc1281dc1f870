package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var nasty = []string{
	``, ` `, `{}`, `null`, `[]`, `"`, `{`, `{"`, `{"to"`, `{"to":`, `{"to":}`, `{,}`, `{}{}`, "\xef\xbb\xbf{}", "\xff", "{\"a\":\"\xc3\"}", "\x00",
	`{"to":"+14155550100","content":"x"}`,
	`{"phoneNumber":" +44 (0)20 7946.0958","content":"\u00e4\ud83d\ude00\"\\\/\b\f\n\r\t"}`,
	`{"to":"+54 11 15 2345 6789","payload":{"b":[1,-0.0,1e400,{"a":null,"a":"\u2028<&>"}],"":{}},"idempotencyKey":"k"}`,
	`{"to":"x","content":null,"payload":null,"destination":"crm"}`,
	`{"to":"x","payload":null,"destination":"crm"}`,
	`{"to":"x","payload":  "]}\"{["  ,"destination":"crm"}`,
	`{"to":"+14155550100","content":"\ud800"}`, `{"to":"+14155550100","content":"\udc00\ud800"}`, `{"\ud83d\u0064":1}`, `{"a":"\u`, `{"a":"\`,
	`{"to":"+14155550100","content":"a\u0000b","metadata":{"\u0000":"\u0000"}}`,
	`{"to":"+14155550100","content":"\u200b"}`, `{"to":"+14155550100","content":"\u3164"}`,
	`{"to":"+14155550100","content":"x","priority":12345678901234567890}`, `{"to":"+14155550100","content":"x","priority":-0}`,
	`{"to":"+14155550100","content":"x","priority":1e1000000000}`, `{"to":"+14155550100","content":"x","priority":0.9e1}`,
	`{"to":"+14155550100","content":"x","deliverAt":"9999-12-31T23:59:59.9999999999Z","expiresAt":"9999-12-31T23:59:59-23:59"}`,
	`{"to":"+14155550100","content":"x","deliverAt":"0000-02-29T00:00:00+23:59","expiresAt":"2030-02-29T00:00:60Z"}`,
	`{"to":"+14155550100","content":"x","metadata":{"a":"b","a":"c","":"","d":1}}`,
	`{"to":"+14155550100","content":"x","type":"a.b.","idempotencyKey":"` + strings.Repeat("é", 128) + `"}`,
	`{"to":"+14155550100","content":"x","TO":1,"to ":2,"deliver-at":3,"constructor":4,"__proto__":{}}`,
	`{"to":"+14155550100","payload":` + strings.Repeat(`{"a":[`, 64) + strings.Repeat(`]}`, 64) + `}`,
	`{"to":"` + strings.Repeat("+", 300) + `","payload":` + strings.Repeat("9", 2000) + `}`,
}

func FuzzRead(f *testing.F) {
	for _, body := range nasty {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		given := bytes.Clone(body)
		r, err := rules.Parse(body, noon)
		require.Equal(t, given, body, "the body is not written to")
		if err != nil {
			checkRefusal(t, err)
			return
		}
		hash := r.bodyHash()
		r.IdempotencyKey = "some key"
		m := r.Message(NewID(noon), "scope")
		checkLimits(t, m)
		require.Equal(t, hash, m.BodyHash, "the key is no part of the body")

		// What was read can be written, and is read as the same.
		var written bytes.Buffer
		encoder := json.NewEncoder(&written)
		encoder.SetEscapeHTML(false)
		require.NoError(t, encoder.Encode(r))
		again, err := rules.Parse(written.Bytes(), noon)
		require.NoError(t, err, written.String())
		require.Equal(t, hash, again.bodyHash(), written.String())

		// The canonical form is JSON, and is its own canonical form.
		canonical := r.appendCanonical(nil)
		require.True(t, json.Valid(canonical), string(canonical))
		require.Equal(t, string(canonical), string(appendCanonical(nil, canonical)))
	})
}

func checkRefusal(t *testing.T, err error) {
	t.Helper()
	require.NotEmpty(t, err.Error())
	require.True(t, utf8.ValidString(err.Error()))
	var malformed *MalformedError
	if errors.As(err, &malformed) {
		return
	}
	var invalid *ValidationError
	require.ErrorAs(t, err, &invalid)
	require.NotEmpty(t, invalid.Errors)
	for _, e := range invalid.Errors {
		require.NotEmpty(t, e.Code)
		require.NotEmpty(t, e.Message)
		require.Less(t, len(e.Field)+len(e.Message), 1000)
		require.False(t, hasControl(e.Field+e.Message), "fit for a header: %q", e)
	}
}

func checkLimits(t *testing.T, m Message) {
	t.Helper()
	kind, known := rules.Destinations[m.Destination]
	require.True(t, known)
	if kind == RecipientPhone {
		require.Regexp(t, `^\+[1-9][0-9]{4,14}$`, m.To)
	}
	require.LessOrEqual(t, len(m.To), MaxRecipientBytes)
	require.False(t, isBlank(m.To) || hasControl(m.To))

	require.NotEqual(t, m.Content == "", m.Payload == nil, "exactly one of the two")
	require.LessOrEqual(t, utf8.RuneCountInString(m.Content), rules.MaxContentLength)
	require.LessOrEqual(t, len(m.Payload), rules.MaxPayloadBytes)
	require.True(t, m.Payload == nil || json.Valid(m.Payload))
	require.True(t, m.Payload != nil || !isBlank(m.Content))

	require.Regexp(t, `^([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)?$`, m.Type)
	require.LessOrEqual(t, len(m.Type), MaxTypeBytes)
	require.True(t, m.Priority >= 0 && m.Priority <= MaxPriority)
	require.True(t, m.DeliverAt.IsZero() || m.DeliverAt.After(noon))
	require.True(t, m.ExpiresAt == nil || m.ExpiresAt.After(noon) && m.ExpiresAt.After(m.DeliverAt))
	require.LessOrEqual(t, len(m.Metadata), MaxMetadataPairs)
	for key, value := range m.Metadata {
		require.True(t, key != "" && len(key) <= MaxMetadataKeyBytes && len(value) <= MaxMetadataValueBytes)
	}

	// Postgres' text takes neither broken UTF-8 nor U+0000, and an answer
	// must be JSON.
	for _, text := range []string{m.To, m.Content, m.Type} {
		require.True(t, utf8.ValidString(text) && !strings.ContainsRune(text, 0), "%q", text)
	}
	for key, value := range m.Metadata {
		require.True(t, utf8.ValidString(key+value) && !strings.ContainsRune(key+value, 0))
	}
	_, err := json.Marshal(m)
	require.NoError(t, err)
}

func FuzzNormalizePhone(f *testing.F) {
	for _, text := range []string{"", "+", "+14155550100", "+44 (0)20 7946 0958", "+54 11 15 2345 6789", "+39 06 12345678", "+1 555 0100", "+800 1234 5678"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		number, err := NormalizePhone(text)
		if err != nil {
			require.ErrorIs(t, err, ErrPhoneNumber)
			return
		}
		require.Regexp(t, `^\+[1-9][0-9]{4,14}$`, number)
		again, err := NormalizePhone(number)
		require.NoError(t, err)
		require.Equal(t, number, again, "a number that is looked for is found")
	})
}

func FuzzParseConfiguration(f *testing.F) {
	for _, body := range []string{`{"interval":"30s","batchSize":10}`, `{"interval":null}`, `{"batchSize":1e3}`, `{"a":1}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := ParseConfiguration(body)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		assert.True(t, c.Interval != nil || c.BatchSize != nil)
	})
}
