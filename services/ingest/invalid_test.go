package ingest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAMalformedBodyGets400(t *testing.T) {
	t.Parallel()
	i := start(t)
	for name, body := range map[string]string{
		"only spaces":             "  \n",
		"no JSON":                 `hello`,
		"cut off":                 `{"to":"+905551111111"`,
		"two values":              hello + hello,
		"a trailing comma":        `{"to":"+905551111111","content":"x",}`,
		"single quotes":           `{'to':'+905551111111'}`,
		"an array":                `[` + hello + `]`,
		"a text":                  `"hello"`,
		"null":                    `null`,
		"a number":                `7`,
		"NaN":                     `{"to":"+905551111111","payload":NaN}`,
		"a byte order mark":       "\ufeff" + hello,
		"broken UTF-8":            "{\"to\":\"+905551111111\",\"content\":\"\xff\"}",
		"half a surrogate pair":   `{"to":"+905551111111","content":"\ud83d"}`,
		"the other half":          `{"to":"+905551111111","content":"\ude00"}`,
		"half a pair in payload":  `{"to":"+905551111111","payload":{"a":"\ud83d"}}`,
		"a raw control character": "{\"to\":\"+905551111111\",\"content\":\"a\x01b\"}",
		"a raw NUL":               "{\"to\":\"+905551111111\",\"content\":\"a\x00b\"}",
		"nested too deep":         `{"to":"+905551111111","payload":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			i := *i
			i.t = t
			i.send(http.MethodPost, messages, body).problem(http.StatusBadRequest, "malformed")
		})
	}
	i.send(http.MethodPost, messages, "", "Content-Type", "application/json").problem(http.StatusBadRequest, "malformed")
	require.Empty(t, i.list("").Data, "nothing of it was stored")
}

// The response names every invalid field at once.
func TestAnInvalidRequestGets422(t *testing.T) {
	t.Parallel()
	i := start(t)
	long := func(n int) string { return strings.Repeat("ü", n) }
	for name, c := range map[string]struct {
		body string
		want []string
	}{
		"nothing in it":          {`{}`, []string{"to required", "content required"}},
		"nulls":                  {`{"to":null,"content":null,"payload":null}`, []string{"to required", "content required"}},
		"everything wrong":       {`{"to":1,"content":2,"destination":3,"type":4,"priority":"5","deliverAt":6,"expiresAt":7,"metadata":8,"idempotencyKey":9}`, []string{"to wrong_type", "content wrong_type", "destination wrong_type", "type wrong_type", "priority wrong_type", "deliverAt wrong_type", "expiresAt wrong_type", "metadata wrong_type", "idempotencyKey wrong_type"}},
		"unknown fields":         {`{"to":"+905551111111","content":"x","contents":"y","id":1}`, []string{"contents unknown_field", "id unknown_field"}},
		"a field twice":          {`{"to":"+905551111111","content":"x","content":"y"}`, []string{"content duplicate_field"}},
		"two recipients":         {`{"to":"+905551111111","phoneNumber":"+905552222222","content":"x"}`, []string{"phoneNumber conflict"}},
		"no phone number":        {`{"to":"nobody","content":"x"}`, []string{"to invalid_phone_number"}},
		"a national number":      {`{"to":"0555 111 11 11","content":"x"}`, []string{"to invalid_phone_number"}},
		"too short a number":     {`{"to":"+90","content":"x"}`, []string{"to invalid_phone_number"}},
		"an empty recipient":     {`{"to":"","content":"x"}`, []string{"to blank"}},
		"an empty content":       {`{"to":"+905551111111","content":""}`, []string{"content blank"}},
		"a blank content":        {`{"to":"+905551111111","content":" \t\n\u200b"}`, []string{"content blank"}},
		"161 characters":         {`{"to":"+905551111111","content":"` + long(161) + `"}`, []string{"content too_long"}},
		"a NUL":                  {`{"to":"+905551111111","content":"a\u0000b"}`, []string{"content invalid_character"}},
		"a NUL in metadata":      {`{"to":"+905551111111","content":"x","metadata":{"a":"\u0000"}}`, []string{"metadata.a invalid_character"}},
		"content and payload":    {`{"to":"+905551111111","content":"x","payload":{}}`, []string{"payload conflict"}},
		"too large a payload":    {`{"to":"+905551111111","payload":"` + strings.Repeat("x", 262_144) + `"}`, []string{"payload too_long"}},
		"an unknown destination": {`{"to":"+905551111111","content":"x","destination":"mars"}`, []string{"destination unknown_destination"}},
		"no destination's name":  {`{"to":"+905551111111","content":"x","destination":"a.b *"}`, []string{"destination unknown_destination"}},
		"a type with spaces":     {`{"to":"+905551111111","content":"x","type":"a b"}`, []string{"type invalid_format"}},
		"priority 10":            {`{"to":"+905551111111","content":"x","priority":10}`, []string{"priority out_of_range"}},
		"priority -1":            {`{"to":"+905551111111","content":"x","priority":-1}`, []string{"priority out_of_range"}},
		"half a priority":        {`{"to":"+905551111111","content":"x","priority":1.5}`, []string{"priority wrong_type"}},
		"20 digits":              {`{"to":"+905551111111","content":"x","priority":12345678901234567890}`, []string{"priority out_of_range"}},
		"no time":                {`{"to":"+905551111111","content":"x","deliverAt":"tomorrow"}`, []string{"deliverAt invalid_format"}},
		"a time without zone":    {`{"to":"+905551111111","content":"x","deliverAt":"2030-01-01T00:00:00"}`, []string{"deliverAt invalid_format"}},
		"expired already":        {`{"to":"+905551111111","content":"x","expiresAt":"2001-01-01T00:00:00Z"}`, []string{"expiresAt out_of_range"}},
		"expired when due":       {`{"to":"+905551111111","content":"x","deliverAt":"2100-01-01T00:00:00Z","expiresAt":"2099-01-01T00:00:00Z"}`, []string{"expiresAt out_of_range"}},
		"metadata of numbers":    {`{"to":"+905551111111","content":"x","metadata":{"a":1,"b":null}}`, []string{"metadata.a wrong_type", "metadata.b wrong_type"}},
		"17 pairs":               {`{"to":"+905551111111","content":"x","metadata":{` + pairs(17) + `}}`, []string{"metadata too_many"}},
		"an empty key":           {`{"to":"+905551111111","content":"x","idempotencyKey":""}`, []string{"idempotencyKey blank"}},
		"a key of 256 bytes":     {`{"to":"+905551111111","content":"x","idempotencyKey":"` + strings.Repeat("k", 256) + `"}`, []string{"idempotencyKey too_long"}},
	} {
		t.Run(name, func(t *testing.T) {
			i := *i
			i.t = t
			i.send(http.MethodPost, messages, c.body).invalidFields(c.want...)
		})
	}
	require.Empty(t, i.list("").Data, "nothing of it was stored")
}

func pairs(n int) string {
	var all []string
	for k := range n {
		all = append(all, fmt.Sprintf(`"k%d":"v"`, k))
	}
	return strings.Join(all, ",")
}

func TestTheLimitsThemselvesAreAllowed(t *testing.T) {
	t.Parallel()
	i := start(t)
	for _, body := range []string{
		`{"to":"+905551111111","content":"` + strings.Repeat("ü", 160) + `"}`,
		`{"to":"+905551111111","content":"😀 \ud83d\ude00"}`,
		`{"to":"+905551111111","payload":"` + strings.Repeat("x", 262_142) + `"}`,
		`{"to":"+905551111111","payload":null}`,
		`{"to":"+905551111111","payload":12345678901234567890}`,
		`{"to":"+905551111111","payload":{"nul":"\u0000","a":1,"a":2,"<":"&"}}`,
		`{"to":"+905551111111","content":"x","priority":0,"destination":"default","metadata":{` + pairs(16) + `}}`,
		`{"to":"+905551111111","content":"x","idempotencyKey":"` + strings.Repeat("k", 255) + `"}`,
	} {
		m := i.post(body)
		require.Equal(t, m, i.send(http.MethodGet, messages+"/"+m.ID.String(), "").message(http.StatusOK))
	}
}

func TestSettingsMoveTheLimits(t *testing.T) {
	t.Parallel()
	i := start(t, "MAX_CONTENT_LENGTH", "5", "MAX_PAYLOAD_BYTES", "10", "WEBHOOK_RECIPIENT", "any")
	i.post(`{"to":"desk 7","content":"12345"}`)
	i.send(http.MethodPost, messages, `{"to":"desk 7","content":"123456"}`).invalidFields("content too_long")
	i.post(`{"to":"desk 7","payload":"12345678"}`)
	i.send(http.MethodPost, messages, `{"to":"desk 7","payload":"123456789"}`).invalidFields("payload too_long")
	require.Len(t, i.list("to=desk+7").Data, 2)
	i.post(`{"to":"+90 555 111 11 11","content":"x"}`)
	require.Len(t, i.list("to=%2B90+555+111+11+11").Data, 1, "free text is looked for as it was given")
}

// Lines are counted as in an editor, with blank ones, and items from one.
func TestErrorsNameTheLineOrItem(t *testing.T) {
	t.Parallel()
	i := start(t)
	details := func(errors ...*problem) (all []string) {
		for _, e := range errors {
			if e != nil {
				all = append(all, e.Detail)
			}
		}
		return all
	}
	long := strings.Repeat("x", 512<<10)
	lines := stream(t, i.send(http.MethodPost, batches, hello+"\n\n7\n"+hello+"\r\n{\"to\":1}\n{\n"+long+"\n\xff", "Content-Type", lineType))
	var wrong []*problem
	for _, l := range lines {
		wrong = append(wrong, l.Error)
	}
	require.Equal(t, []string{
		"line 3 must be a JSON object, is a number",
		"line 5: to must be a string, is a number; content must be given, or payload instead",
		"line 6 is not JSON: unexpected end of JSON input, at byte 1",
		"line 7 must not be more than 329600 bytes long",
		"line 8 is not valid UTF-8 at byte 0",
	}, details(wrong...))

	var batch struct{ Results []struct{ Error *problem } }
	i.send(http.MethodPost, batches, `[`+hello+`,7,{"to":"+905551111111","content":""}]`).into(http.StatusOK, &batch)
	require.Equal(t, []string{"item 2 must be a JSON object, is a number", "item 3: content must not be blank"},
		details(batch.Results[1].Error, batch.Results[2].Error))

	for body, want := range map[string]string{"7": "the body must be a JSON object, is a number", hello + "x": "the body is not JSON: invalid character 'x' after top-level value, at byte 41"} {
		require.Equal(t, want, i.send(http.MethodPost, messages, body).problem(http.StatusBadRequest, "malformed").Detail)
	}
	i.post(hello, "Idempotency-Key", "k")
	again := i.send(http.MethodPost, messages, `{"to":"+905551111111","content":"other"}`, "Idempotency-Key", "k")
	require.Equal(t, "this idempotency key was used before, for another message", again.problem(http.StatusConflict, "idempotency_key_reused").Detail)
}
