package destination

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// newDestination returns a destination with the default settings.
func newDestination(t testing.TB, settings ...func(*Settings)) *Destination {
	t.Helper()
	s := Settings{URL: "https://receiver", Timeout: 5 * time.Second}
	for _, set := range settings {
		set(&s)
	}
	d, err := New(s)
	require.NoError(t, err)
	return d
}

func TestAMessageIDIsKeptAsItIsWritten(t *testing.T) {
	t.Parallel()
	d := newDestination(t)
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
		require.Equal(t, want, d.findExternalID(nil, []byte(body)), "%.60s", body)
	}
}

// judged is what a status and headers mean.
func judged(d *Destination, status int, header http.Header) Judgement {
	return d.Classify(transport.Response{Status: status, Header: header}, time.Now())
}

func TestWhatAStatusMeans(t *testing.T) {
	t.Parallel()
	d := newDestination(t)
	for status, want := range map[int]message.ResponseClass{
		200: message.Delivered, 204: message.Delivered, 299: message.Delivered, 408: message.Retryable, 429: message.Retryable, 503: message.Retryable,
		307: message.Refused, 400: message.Refused, 410: message.Refused, 409: message.Conflict,
	} {
		j := judged(d, status, http.Header{"Retry-After": {"20.0"}})
		require.Equal(t, want, j.Class, "status %d", status)
		require.Equal(t, want == message.Retryable || want == message.Conflict, j.RetryAfter == 20*time.Second)
		if want != message.Delivered {
			require.Contains(t, j.Text, "status")
		}
	}
}

func TestARefusedRedirectSaysWhereItLeads(t *testing.T) {
	t.Parallel()
	d := newDestination(t, func(s *Settings) { s.URL = "https://hooks.example/services/T0/s3cret" })
	for location, want := range map[string]string{
		"":                            "",
		"https://hooks.example/login": "; its Location is https://hooks.example/login",
		"/login":                      "; its Location is /login",
		"//other.example:8443/":       "; its Location is //other.example:8443/",
		"https://other.example/services/T0/s3cret/":         "; its Location is https://other.example/…/",
		"https://a:s3cret@other.example/?k=s3cret#s3cret":   "; its Location is https://other.example/?…",
		"https://[::1/s3cret":                               "; its Location can't be read",
		"https://other.example/" + strings.Repeat("é", 300): "; its Location is https://other.example/" + strings.Repeat("%C3%A9", 29),
	} {
		j := judged(d, 308, http.Header{"Location": {location}})
		require.Equal(t, message.Refused, j.Class)
		require.Contains(t, j.Text, "status 308: redirects are not followed"+want)
		require.NotContains(t, j.Text, "s3cret")
		require.Equal(t, location == "", j.Text == "status 308: redirects are not followed")
	}
}

// documented is a place of the id and a response that has it.
var documented = regexp.MustCompile("(?s)`EXTERNAL_ID=([^`]+)`[^`]*:\n\n```json\n(.*?)\n```")

func TestTheIDsOfTheDocumentedProvidersAreFound(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/WEBHOOK.md")
	require.NoError(t, err)
	var found []string
	for _, example := range documented.FindAllStringSubmatch(string(text), -1) {
		d := newDestination(t, func(s *Settings) { s.ExternalID = example[1] })
		found = append(found, d.Classify(transport.Response{Status: 200, Body: []byte(example[2])}, time.Now()).ExternalID)
	}
	require.Equal(t, []string{
		"SM00000000000000000000000000000001", "0C000000217B7F02", "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab", "e8077d803532c0b5937c639b60216938",
		"<20111114174239.25659.5817@samples.mailgun.org>", "2250be2d4219-3af1-78856-aabe-1362af1edfd2",
	}, found)
}

func TestAnIDMayBeInAHeader(t *testing.T) {
	t.Parallel()
	d := newDestination(t, func(s *Settings) { s.ExternalID = "header:x-message-id" })
	j := judged(d, 202, http.Header{"X-Message-Id": {strings.Repeat("x", 300)}})
	require.Equal(t, strings.Repeat("x", maxExternalID), j.ExternalID)
}

func FuzzClassify(f *testing.F) {
	f.Add(200, "7", []byte(`{"messageId":"x"}`))
	f.Add(503, "Sun, 01 Mar 2026 12:01:00 GMT", []byte(`{"messageId":123}`))
	f.Add(302, "", []byte("\xff\x00{"))
	f.Add(99, "-1", []byte(`{"messageId":"\u0000\ud800"`))
	d := newDestination(f)
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		j := d.Classify(transport.Response{Status: status, Header: http.Header{"Retry-After": {after}}, Body: body}, time.Unix(1, 0))
		for _, text := range []string{j.ExternalID, j.Text, transport.CleanText(body, message.ResponseKept)} {
			require.True(t, utf8.ValidString(text), "%q", text)
			require.NotContains(t, text, "\x00")
			require.LessOrEqual(t, len(text), message.ResponseKept)
		}
		require.LessOrEqual(t, len(j.ExternalID), maxExternalID)
		require.GreaterOrEqual(t, j.RetryAfter, time.Duration(0))
		require.Equal(t, status >= 200 && status < 300, j.Class == message.Delivered)
		if j.Class != message.Delivered {
			require.Empty(t, j.ExternalID)
			require.NotEmpty(t, j.Text)
		}
	})
}
