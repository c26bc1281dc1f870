package sender

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestAMessageIDIsKeptAsItIsWritten(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 200)
	for body, want := range map[string]string{
		`{"message":"Accepted","messageId":"67f2f8a8"}`:  "67f2f8a8",
		`{"messageId":12345678901234567890}`:             "12345678901234567890",
		`{"messageId":1.50}`:                             "1.50",
		`{"a":{"messageId":"inner"},"messageId":"top"}`:  "top",
		`{"messageId":"first", "rest": "never end`:       "first",
		`{"messageId":"a\u0000b"}`:                       "ab",
		"{\"messageId\":\"bad \xff\"}":                   "bad \uFFFD",
		`{"messageId":"` + long + `"}`:                   long[:254],
		`{"messageId":""}`:                               "",
		`{"messageId":null}`:                             "",
		`{"messageId":true}`:                             "",
		`{"messageId":["x"]}`:                            "",
		`{"messageId":"cut o`:                            "",
		`{"other":"x"}`:                                  "",
		`["messageId","x"]`:                              "",
		`"messageId"`:                                    "",
		``:                                               "",
		`Accepted`:                                       "",
		strings.Repeat("[", 100_000):                     "",
		`{"a":` + strings.Repeat("[", 60_000):            "",
		`{"messageId":` + strings.Repeat("9", 300) + `}`: strings.Repeat("9", 255),
	} {
		require.Equal(t, want, messageID([]byte(body)), "%.60s", body)
	}
}

func TestWhatAStatusMeans(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]verdict{
		200: succeeded, 201: succeeded, 202: succeeded, 204: succeeded, 299: succeeded,
		408: retryable, 425: retryable, 429: retryable, 500: retryable, 502: retryable, 503: retryable, 599: retryable,
		301: refused, 302: refused, 304: refused, 307: refused, 400: refused, 401: refused, 404: refused, 410: refused, 422: refused,
	} {
		a := classify(&http.Response{StatusCode: status, Header: http.Header{}}, nil, time.Now(), time.Now())
		require.Equal(t, want, a.verdict, "status %d", status)
		require.Equal(t, status, a.status)
		if want != succeeded {
			require.Contains(t, a.text, "status")
		}
	}
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                               0,
		"7":                              7 * time.Second,
		" 120 ":                          2 * time.Minute,
		"0":                              0,
		"-5":                             0,
		"soon":                           0,
		"1.5":                            0,
		"99999999999999999999999":        365 * 24 * time.Hour,
		"Sun, 01 Mar 2026 12:01:00 GMT":  time.Minute,
		"Sun, 01 Mar 2026 11:59:00 GMT":  0,
		"Sunday, 01-Mar-26 12:01:00 GMT": time.Minute,
	} {
		require.Equal(t, want, retryAfter(value, now), "%q", value)
	}
}

func TestTextIsCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	require.Equal(t, "éé", clean([]byte("ééé"), 5))
	require.Equal(t, "ab", clean([]byte("a\x00b"), 5))
	require.Empty(t, clean([]byte("é"), 1))
	require.LessOrEqual(t, len(clean([]byte(strings.Repeat("a\xff", 100)), 50)), 50)
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, "7", []byte(`{"messageId":"x"}`))
	f.Add(503, "Sun, 01 Mar 2026 12:01:00 GMT", []byte(`{"messageId":123}`))
	f.Add(302, "", []byte("\xff\x00{"))
	f.Add(99, "-1", []byte(`{"messageId":"\u0000\ud800"`))
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		response := &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {after}}}
		a := classify(response, body, time.Unix(0, 0), time.Unix(1, 0))
		for _, text := range []string{a.externalID, a.response, a.text} {
			require.True(t, utf8.ValidString(text), "%q", text)
			require.NotContains(t, text, "\x00")
		}
		require.LessOrEqual(t, len(a.externalID), maxExternalID)
		require.LessOrEqual(t, len(a.response), message.ResponseKept)
		require.GreaterOrEqual(t, a.retryAfter, time.Duration(0))
		require.Equal(t, status >= 200 && status < 300, a.verdict == succeeded)
		if a.verdict != succeeded {
			require.Empty(t, a.externalID)
			require.NotEmpty(t, a.text)
		}
	})
}
