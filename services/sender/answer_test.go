package sender

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestAMessageIDIsKeptAsItIsWritten(t *testing.T) {
	t.Parallel()
	w := hookTo(t, "http://receiver")
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
		require.Equal(t, want, w.findExternalID(nil, []byte(body)), "%.60s", body)
	}
}

// judged is what a webhook makes of a status and headers.
func judged(w *webhook, status int, header http.Header) answer {
	return w.classify(&http.Response{StatusCode: status, Header: header}, nil, time.Now(), time.Now())
}

func TestWhatAStatusMeans(t *testing.T) {
	t.Parallel()
	w := hookTo(t, "http://receiver")
	for status, want := range map[int]verdict{
		200: succeeded, 204: succeeded, 299: succeeded, 408: retryable, 429: retryable, 503: retryable,
		307: refused, 400: refused, 410: refused, 409: message.Conflict,
	} {
		a := judged(w, status, http.Header{"Retry-After": {"20.0"}})
		require.Equal(t, want, a.verdict, "status %d", status)
		require.Equal(t, status, a.status)
		require.Equal(t, want == retryable || want == message.Conflict, a.retryAfter == 20*time.Second)
		if want != succeeded {
			require.Contains(t, a.text, "status")
		}
	}
}

func TestARefusedRedirectSaysWhereItLeads(t *testing.T) {
	t.Parallel()
	w := hookTo(t, "https://hooks.example/services/T0/s3cret")
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
		a := judged(w, 308, http.Header{"Location": {location}})
		require.Equal(t, refused, a.verdict)
		require.Contains(t, a.text, "status 308: redirects are not followed"+want)
		require.NotContains(t, a.text, "s3cret")
		require.Equal(t, location == "", a.text == "status 308: redirects are not followed")
	}
}

// documented is a place of the id and a response that has it.
var documented = regexp.MustCompile("(?s)`EXTERNAL_ID=([^`]+)`[^`]*:\n\n```json\n(.*?)\n```")

func TestTheIDsOfTheDocumentedProvidersAreFound(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/WEBHOOK.md")
	require.NoError(t, err)
	var found []string
	for _, example := range documented.FindAllStringSubmatch(string(text), -1) {
		w := hook(t, func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, example[2]) }, func(cfg *Config) { cfg.ExternalID = example[1] })
		found = append(found, w.attempt(t.Context(), testMessage(), 1).externalID)
	}
	require.Equal(t, []string{
		"SM00000000000000000000000000000001", "0C000000217B7F02", "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab", "e8077d803532c0b5937c639b60216938",
		"<20111114174239.25659.5817@samples.mailgun.org>", "2250be2d4219-3af1-78856-aabe-1362af1edfd2",
	}, found)
}

func TestAnIDMayBeInAHeader(t *testing.T) {
	t.Parallel()
	header := hook(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("X-Message-Id", strings.Repeat("x", 300))
	}, func(cfg *Config) { cfg.ExternalID = "header:x-message-id" })
	require.Equal(t, strings.Repeat("x", maxExternalID), header.attempt(t.Context(), testMessage(), 1).externalID)
}

func TestAPackedResponseIsUnpacked(t *testing.T) {
	t.Parallel()
	pack := func(text string) string {
		var packed bytes.Buffer
		writer := gzip.NewWriter(&packed)
		_, _ = io.WriteString(writer, text)
		_ = writer.Close()
		return packed.String()
	}
	id := `{"messageId":"x"}`
	for name, c := range map[string]struct{ coding, body, response string }{
		"packed":        {"gzip", pack(id), id},
		"an old name":   {" X-Gzip ", pack(id), id},
		"cut off":       {"gzip", pack(id)[:len(pack(id))-8], id},
		"not packed":    {"gzip", id, id},
		"another":       {"br", id, id},
		"a small large": {"gzip", pack(id + strings.Repeat(" ", 10<<20)), id + strings.Repeat(" ", message.ResponseKept-len(id))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := hook(t, func(rw http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Accept-Encoding") != "identity" {
					rw.WriteHeader(http.StatusTeapot)
				}
				rw.Header().Set("Content-Encoding", c.coding)
				_, _ = io.WriteString(rw, c.body)
			})
			a := w.attempt(t.Context(), testMessage(), 1)
			require.Equal(t, succeeded, a.verdict, a.text)
			require.Equal(t, "x", a.externalID)
			require.Equal(t, c.response, a.response)
		})
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
	w, err := newWebhook(Config{WebhookURL: "http://receiver"}, zap.NewNop())
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		response := &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {after}}}
		a := w.classify(response, body, time.Unix(0, 0), time.Unix(1, 0))
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
