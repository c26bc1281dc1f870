package message

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadCallsMalformed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, says string }{
		"nothing":               {"", "empty"},
		"white space":           {" \n", "empty"},
		"no JSON":               {`{"to":}`, "invalid character '}' looking for beginning of value, at byte 7"},
		"half of it":            {`{"to":"+1`, "unexpected end"},
		"more after it":         {`{} {}`, "after top-level value"},
		"a comma too many":      {`{"to":"x",}`, "not JSON"},
		"a comment":             {`{/**/}`, "not JSON"},
		"an array":              {`[{}]`, "must be a JSON object, is an array"},
		"a string":              {`"x"`, "must be a JSON object, is a string"},
		"null":                  {`null`, "must be a JSON object, is null"},
		"a number":              {`17`, "must be a JSON object, is a number"},
		"a byte order mark":     {"\ufeff{}", "byte order mark"},
		"broken UTF-8":          {"{\"to\":\"\xff\"}", "not valid UTF-8 at byte 7"},
		"an encoded surrogate":  {"{\"to\":\"\xed\xa0\x80\"}", "not valid UTF-8"},
		"a line break in text":  {"{\"to\":\"a\nb\"}", "not JSON"},
		"a lone high surrogate": {`{"content":"\ud800"}`, "half of a surrogate pair at byte 12"},
		"a lone low surrogate":  {`{"content":"\udc00"}`, "half of a surrogate pair"},
		"two high surrogates":   {`{"content":"\ud800\ud800"}`, "half of a surrogate pair"},
		"high, then a letter":   {`{"content":"\uD83Dx\uDE00"}`, "half of a surrogate pair"},
		"a pair and a half":     {`{"content":"\ud83d\ude00\ude00"}`, "half of a surrogate pair"},
		"half a pair in a key":  {`{"\ud800":1}`, "half of a surrogate pair"},
		"half a pair, nested":   {`{"payload":[{"a":"\\\ud800"}]}`, "half of a surrogate pair"},
		"nested too deep":       {`{"payload":` + strings.Repeat("[", 128) + strings.Repeat("]", 128) + `}`, "deeper than 128"},
		"nested without an end": {strings.Repeat("[", 1_000_000), "deeper than 128"},
		"an open escape":        {`{"a":"\`, "not JSON"},
		"an open \\u escape":    {`{"a":"\ud80`, "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := rules.Parse([]byte(c.body), noon)
			var malformed *MalformedError
			require.ErrorAs(t, err, &malformed)
			assert.Contains(t, malformed.Error(), c.says)
		})
	}
}

// Each body has one mistake; the rest of it is fine.
func TestReadCallsInvalid(t *testing.T) {
	t.Parallel()
	const good = `"to":"+14155550100","content":"x"`
	for _, c := range []struct{ body, want, says string }{
		{`{"content":"x"}`, "to required", "who the message is for"},
		{`{"to":null,"content":"x"}`, "to required", ""},
		{`{"to":17,"content":"x"}`, "to wrong_type", "must be a string, is a number"},
		{`{"phoneNumber":["x"],"content":"x"}`, "phoneNumber wrong_type", "is an array"},
		{`{"to":"+14155550100","phoneNumber":"+14155550101","content":"x"}`, "phoneNumber conflict", ""},
		{`{"to":"+14155550100","phoneNumber":true,"content":"x"}`, "phoneNumber wrong_type", "is a boolean"},
		{`{"to":"","content":"x"}`, "to blank", ""},
		{`{"to":"  ","content":"x","destination":"crm"}`, "to blank", ""},
		{`{"to":"a\u0007","content":"x","destination":"crm"}`, "to invalid_character", ""},
		{`{"to":"a\u0085b","content":"x","destination":"crm"}`, "to invalid_character", ""},
		{`{"to":"` + strings.Repeat("é", 128) + `x","content":"x","destination":"crm"}`, "to too_long", "at most 256 bytes long, is 257"},
		{`{"to":"4155550100","content":"x"}`, "to invalid_phone_number", "international form"},

		{`{"to":"+14155550100"}`, "content required", "or payload instead"},
		{`{"to":"+14155550100","content":null,"payload":null}`, "content required", ""},
		{`{` + good + `,"payload":1}`, "payload conflict", "together with content"},
		{`{"to":"+14155550100","content":{}}`, "content wrong_type", "is an object"},
		{`{"to":"+14155550100","content":""}`, "content blank", ""},
		{`{"to":"+14155550100","content":" \t\u00a0\u3000\u2028"}`, "content blank", ""},
		{`{"to":"+14155550100","content":"\u200b\ufeff"}`, "content blank", ""},
		{`{"to":"+14155550100","content":"` + strings.Repeat("ä", 161) + `"}`, "content too_long", "at most 160 characters long, is 161"},
		{`{"to":"+14155550100","content":"a\u0000b"}`, "content invalid_character", "U+0000"},
		{`{"to":"+14155550100","payload":"` + strings.Repeat("x", 1023) + `"}`, "payload too_long", "at most 1024 bytes long, is 1025"},

		{`{` + good + `,"destination":"nowhere"}`, "destination unknown_destination", `"nowhere"`},
		{`{` + good + `,"destination":""}`, "destination unknown_destination", ""},
		{`{` + good + `,"destination":5}`, "destination wrong_type", ""},

		{`{` + good + `,"type":""}`, "type invalid_format", "invoice.paid"},
		{`{` + good + `,"type":"a..b"}`, "type invalid_format", ""},
		{`{` + good + `,"type":".a"}`, "type invalid_format", ""},
		{`{` + good + `,"type":"a."}`, "type invalid_format", ""},
		{`{` + good + `,"type":"a b"}`, "type invalid_format", ""},
		{`{` + good + `,"type":"ä"}`, "type invalid_format", ""},
		{`{` + good + `,"type":"a*"}`, "type invalid_format", ""},
		{`{` + good + `,"type":"` + strings.Repeat("t", 129) + `"}`, "type too_long", "128"},

		{`{` + good + `,"priority":10}`, "priority out_of_range", "from 0 (last) to 9 (first)"},
		{`{` + good + `,"priority":-1}`, "priority out_of_range", ""},
		{`{` + good + `,"priority":12345678901234567890}`, "priority out_of_range", ""},
		{`{` + good + `,"priority":-12345678901234567890}`, "priority out_of_range", ""},
		{`{` + good + `,"priority":1.5}`, "priority wrong_type", "whole number"},
		{`{` + good + `,"priority":1e0}`, "priority wrong_type", "whole number"},
		{`{` + good + `,"priority":"5"}`, "priority wrong_type", "is a string"},
		{`{` + good + `,"priority":false}`, "priority wrong_type", ""},

		{`{` + good + `,"deliverAt":1900000000}`, "deliverAt wrong_type", ""},
		{`{` + good + `,"deliverAt":"tomorrow"}`, "deliverAt invalid_format", "RFC 3339"},
		{`{` + good + `,"deliverAt":"2030-02-01T00:00:00"}`, "deliverAt invalid_format", ""},
		{`{` + good + `,"deliverAt":"2030-02-01 00:00:00Z"}`, "deliverAt invalid_format", ""},
		{`{` + good + `,"deliverAt":"2030-02-30T00:00:00Z"}`, "deliverAt invalid_format", ""},
		{`{` + good + `,"deliverAt":"2030-02-01T1:00:00Z"}`, "deliverAt invalid_format", ""},
		{`{` + good + `,"deliverAt":"2030-02-01T01:00:00,5Z"}`, "deliverAt invalid_format", ""},
		{`{` + good + `,"deliverAt":"2030-02-01T01:00:00+24:00"}`, "deliverAt invalid_format", ""},
		{`{` + good + `,"deliverAt":"2030-02-01T01:00:00+01:60"}`, "deliverAt invalid_format", ""},
		{`{` + good + `,"deliverAt":"2030-02-01T24:00:00Z"}`, "deliverAt invalid_format", ""},
		{`{` + good + `,"deliverAt":"12030-02-01T01:00:00Z"}`, "deliverAt invalid_format", ""},
		{`{` + good + `,"deliverAt":"9999-12-31T23:59:59-01:00"}`, "deliverAt out_of_range", "1 to 9999"},
		{`{` + good + `,"deliverAt":"0001-01-01T00:00:00+01:00"}`, "deliverAt out_of_range", ""},
		{`{` + good + `,"expiresAt":"2030-01-31T12:00:00Z"}`, "expiresAt out_of_range", "in the future"},
		{`{` + good + `,"expiresAt":"0000-01-01T00:00:00Z"}`, "expiresAt out_of_range", ""},
		{`{` + good + `,"deliverAt":"2030-02-01T00:00:00Z","expiresAt":"2030-02-01T00:00:00Z"}`, "expiresAt out_of_range", "later than deliverAt"},

		{`{` + good + `,"metadata":[]}`, "metadata wrong_type", "must be an object, is an array"},
		{`{` + good + `,"metadata":{"a":1}}`, "metadata.a wrong_type", "must be a string, is a number"},
		{`{` + good + `,"metadata":{"a":null}}`, "metadata.a wrong_type", "is null"},
		{`{` + good + `,"metadata":{"a":"1","\u0061":"2"}}`, "metadata.a duplicate_field", ""},
		{`{` + good + `,"metadata":{"":"x"}}`, "metadata. blank", ""},
		{`{` + good + `,"metadata":{"a\nb":"x"}}`, "metadata.a\ufffdb invalid_character", ""},
		{`{` + good + `,"metadata":{"a":"\u0000"}}`, "metadata.a invalid_character", ""},
		{`{` + good + `,"metadata":{"a":"` + strings.Repeat("v", 513) + `"}}`, "metadata.a too_long", "512"},
		{`{` + good + `,"metadata":{"` + strings.Repeat("k", 65) + `":"v"}}`, "metadata." + strings.Repeat("k", 64) + "… too_long", "64"},
		{`{` + good + `,"metadata":` + pairs(17) + `}`, "metadata too_many", "at most 16 entries, has 17"},

		{`{` + good + `,"idempotencyKey":""}`, "idempotencyKey blank", ""},
		{`{` + good + `,"idempotencyKey":7}`, "idempotencyKey wrong_type", ""},
		{`{` + good + `,"idempotencyKey":"a\tb"}`, "idempotencyKey invalid_character", ""},
		{`{` + good + `,"idempotencyKey":"` + strings.Repeat("k", 256) + `"}`, "idempotencyKey too_long", "255"},

		{`{` + good + `,"to":"+14155550100"}`, "to duplicate_field", ""},
		{`{` + good + `,"t\u006f":"+14155550100"}`, "to duplicate_field", ""},
		{`{` + good + `,"priority":null,"priority":1}`, "priority duplicate_field", ""},
		{`{` + good + `,"deliver_at":"x"}`, "deliver_at unknown_field", "did you mean deliverAt?"},
		{`{` + good + `,"Priority":1}`, "Priority unknown_field", "did you mean priority?"},
		{`{` + good + `,"metdata":{}}`, "metdata unknown_field", "did you mean metadata?"},
		{`{` + good + `,"webhookUrl":null}`, "webhookUrl unknown_field", "is not a field of a message"},
		{`{` + good + `,"a\r\nb":1}`, "a\ufffd\ufffdb unknown_field", ""},
	} {
		t.Run(c.want, func(t *testing.T) {
			t.Parallel()
			_, err := rules.Parse([]byte(c.body), noon)
			assert.Equal(t, []string{c.want}, mistakes(t, err), c.body)
			assert.ErrorContains(t, err, c.says)
		})
	}
}

func TestEveryMistakeIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := rules.Parse([]byte(`{
		"to":"nobody","content":"","payload":1,"destination":"default","type":"!","priority":"high","deliverAt":"now",
		"expiresAt":"2001-01-01T00:00:00Z","metadata":{"a":1,"b":[]},"idempotencyKey":"","colour":"red","to":"x"
	}`), noon)
	assert.Equal(t, []string{
		"colour unknown_field", "to duplicate_field", "to invalid_phone_number", "payload conflict", "content blank",
		"type invalid_format", "priority wrong_type", "deliverAt invalid_format", "expiresAt out_of_range",
		"metadata.a wrong_type", "metadata.b wrong_type", "idempotencyKey blank",
	}, mistakes(t, err))
}

func TestARecipientOfAnUnknownDestinationIsNotJudgedAsAPhoneNumber(t *testing.T) {
	t.Parallel()
	for _, destination := range []string{`"nowhere"`, `7`} {
		_, err := rules.Parse([]byte(`{"to":"user-17","content":"x","destination":`+destination+`}`), noon)
		assert.Len(t, mistakes(t, err), 1)
	}
}

func TestAnAnswerDoesNotGrowWithTheRequest(t *testing.T) {
	t.Parallel()
	var body strings.Builder
	body.WriteString(`{"content":"x"`)
	for i := range 10_000 {
		fmt.Fprintf(&body, `,"x%d%s":1`, i, strings.Repeat("y", 1000))
	}
	body.WriteString(`}`)
	_, err := rules.Parse([]byte(body.String()), noon)
	list := mistakes(t, err)
	assert.Len(t, list, 22)
	assert.Equal(t, "to required", list[21])
	assert.ErrorContains(t, err, "and 9980 more fields")
	assert.Less(t, len(err.Error()), 5000)
}

func TestCheckIdempotencyKey(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"k", "orders/17 é", strings.Repeat("k", 255)} {
		assert.Nil(t, CheckIdempotencyKey(key), key)
	}
	for key, code := range map[string]string{
		"": CodeBlank, "a\x00": CodeInvalidCharacter, "a\x7f": CodeInvalidCharacter,
		"\xc3": CodeInvalidCharacter, strings.Repeat("k", 256): CodeTooLong,
	} {
		wrong := CheckIdempotencyKey(key)
		if assert.NotNil(t, wrong, "%q", key) {
			assert.Equal(t, code, wrong.Code)
			assert.Equal(t, "idempotencyKey", wrong.Field)
		}
	}
}
