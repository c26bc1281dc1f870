package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// fileOf writes a file and returns its name.
func fileOf(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestSendAFileOfCSV(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	file := fileOf(t, "a.CSV", "\ufeffto,content,priority,payload,metadata.campaign\n"+
		"+905551111111,hello,3,,spring\n"+
		"+905551111112,\"two\nlines\",,,\n"+
		"nonsense,,high,,\n"+
		"+905551111113,short\n"+
		"+905551111114,,,\"{\"\"a\"\":  1}\",\n"+
		"+905551111115,,,{,\n")
	done := i.dispatch(t, "send", "--file", file)
	require.Equal(t, "3 accepted, 3 rejected\n", done.out)
	done.fails(t, 1,
		"line 5: 3 mistakes (invalid)\n  to: ", "\n  content: ", "\n  priority: must be ",
		"line 6: has 2 columns, the first line 5",
		"line 8: payload is not JSON")
	require.NotContains(t, done.errOut, "line 7")

	var page struct{ Data []message.Message }
	require.NoError(t, json.Unmarshal([]byte(i.dispatch(t, "list", "--json").ok(t)), &page))
	require.Len(t, page.Data, 3)
	require.Equal(t, "two\nlines", page.Data[1].Content)
	require.Equal(t, 3, page.Data[2].Priority)
	require.Equal(t, map[string]string{"campaign": "spring"}, page.Data[2].Metadata)
}

// TestAQuoteThatIsNotClosed takes lines with it, and must say which.
func TestAQuoteThatIsNotClosed(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	file := fileOf(t, "a.csv", "to,content\n+905551111111,before\n+905551111111,\"open\n+905551111111,lost\n+905551111111,\"lost, too\n+905551111111,after\n")
	done := i.dispatch(t, "send", "--file", file)
	require.Equal(t, "2 accepted, 1 rejected\n", done.out)
	done.fails(t, 1, "line 3: is not CSV: ", "lines 3 to 5 are one quoted field, and none of them is sent")

	endless := dispatchWith(t, "to,content\n+905551111111,\""+strings.Repeat("x\n", longestLine), "send", "--file", "-", "--url", i.url)
	endless.fails(t, 1, "after line 1: a line is longer than", "a quote is not closed")
}

func TestSendAFileOfNDJSONFromStandardInput(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	text := `{"to":"+905551111111","content":"1"}` + "\n\nbroken\n5\n" + `{"to":"+905551111111","payload":{"b":  1},"idempotencyKey":"mine"}`
	done := dispatchWith(t, text, "send", "--file", "-", "--key-prefix", "k-", "--json", "--url", i.url)
	require.Equal(t, 1, done.code)
	require.Empty(t, done.errOut, "JSON tells it all")
	var lines []fileLine
	decoder := json.NewDecoder(strings.NewReader(done.out))
	for range 4 {
		var l fileLine
		require.NoError(t, decoder.Decode(&l))
		lines = append(lines, l)
	}
	var sums fileSums
	require.NoError(t, decoder.Decode(&sums))
	require.Equal(t, fileSums{Accepted: 2, Rejected: 2}, sums)
	require.Equal(t, []int{1, 3, 4, 5}, []int{lines[0].Line, lines[1].Line, lines[2].Line, lines[3].Line})
	require.Equal(t, "unreadable", lines[1].Error.Code)
	require.Equal(t, "is not JSON: invalid character 'b' looking for beginning of value, at byte 1", lines[1].Error.Detail)
	require.Equal(t, "malformed", lines[2].Error.Code)
	require.Equal(t, "it must be a JSON object, is a number", lines[2].Error.Detail)

	repeat := dispatchWith(t, text, "send", "--file", "-", "--key-prefix", "k-", "--url", i.url)
	require.Equal(t, "2 accepted (2 of them stored before), 2 rejected\n", repeat.out)
	require.Contains(t, i.dispatch(t, "send", "+905551111111", "1", "--key", "k-1").ok(t), lines[0].ID.String(), "the key is prefix and line number")
	i.dispatch(t, "send", "+905551111111", "1", "--key", "mine").fails(t, 1, "idempotency_key_reused")
}

// breaking passes so many requests on to an API and then breaks connections.
func breaking(t *testing.T, api string, after int32) string {
	t.Helper()
	target, err := url.Parse(api)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	var seen atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen.Add(1) > after {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestABrokenRunIsRepeated(t *testing.T) {
	t.Parallel()
	i := startUp(t, "PROCESSING_INTERVAL", "24h")
	var text strings.Builder
	for n := range 2500 {
		fmt.Fprintf(&text, "{\"to\":\"+905551111111\",\"content\":\"%d\"}\n", n)
	}
	file := fileOf(t, "many.ndjson", text.String())

	broken := dispatch(t, "send", "--file", file, "--key-prefix", "x", "--url", breaking(t, i.url, 2))
	broken.fails(t, 3, "no answer from", "done up to line 2000: 2000 accepted, 0 rejected", "repeat the same command")
	dispatch(t, "send", "--file", file, "--url", breaking(t, i.url, 0)).fails(t, 3, "no line is done", "--key-prefix")

	whole := i.dispatch(t, "send", "--file", file, "--key-prefix", "x")
	require.Equal(t, "2500 accepted (2000 of them stored before), 0 rejected\n", whole.ok(t))
	require.Equal(t, "1000 accepted (1000 of them stored before), 0 rejected\n2000 accepted (2000 of them stored before), 0 rejected\n", whole.errOut, "plain progress where nobody watches")
	require.Equal(t, "2500", field(i.dispatch(t, "status").ok(t), "PENDING"))
}

// TestOverloadAndOutageOfSomeLines is about answers that a healthy API does
// not give.
func TestOverloadAndOutageOfSomeLines(t *testing.T) {
	t.Parallel()
	answers := []string{
		`{"results":[{"index":0,"error":{"status":429,"code":"overloaded"}},{"index":1,"id":"` + someID + `"}]}`,
		`{"results":[{"index":0,"error":{"status":503,"code":"unavailable","detail":"away"}}]}`,
	}
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		_, _ = w.Write([]byte(answers[len(bodies)-1]))
	}))
	t.Cleanup(server.Close)
	done := dispatchWith(t, "{\"to\":\"a\"}\n{\"to\":\"b\"}\n", "send", "--file", "-", "--url", server.URL)
	done.fails(t, 3, "away (unavailable)", "no line is done")
	require.Equal(t, []string{`[{"to":"a"},{"to":"b"}]`, `[{"to":"a"}]`}, bodies, "only what was refused is sent again")
}

func TestSendAFileSaysWhatIsAllowed(t *testing.T) {
	t.Parallel()
	dispatch(t, "send", "--file", "nowhere.csv").fails(t, 2, "nowhere.csv")
	dispatch(t, "send", "--file", fileOf(t, "a.csv", "to,text\n")).fails(t, 2, `"text"`, "to, phoneNumber, content, ", "metadata.NAME")
	dispatch(t, "send", "--file", fileOf(t, "a.csv", "to,to\n")).fails(t, 2, "twice")
	dispatch(t, "send", "--file", fileOf(t, "a.csv", "")).fails(t, 2, "titles")
	dispatch(t, "send", "--file", fileOf(t, "a.json", "[{}]")).fails(t, 2, "jq")
	dispatch(t, "send", "--file", fileOf(t, "a", "{}"), "--format", "xml").fails(t, 2, "ndjson and csv")
	dispatch(t, "send", "--file", fileOf(t, "a.ndjson", "{}"), "--url", unused).fails(t, 3, "no answer from "+unused, "no line is done")
	dispatch(t, "send", "--file", fileOf(t, "a.ndjson", strings.Repeat("x", longestLine+1))).fails(t, 1, "line 1 is longer than")
	require.Equal(t, "0 accepted, 0 rejected\n", dispatch(t, "send", "--file", fileOf(t, "empty", "")).ok(t))
}

func TestEveryLineGetsItsKey(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		`{}`:                        `{"idempotencyKey":"p1"}`,
		` { } `:                     `{"idempotencyKey":"p1"}`,
		`{"to": "a"}`:               `{"idempotencyKey":"p1","to": "a"}`,
		`{"idempotencyKey":"own"}`:  `{"idempotencyKey":"own"}`,
		`{"IdempotencyKey":"what"}`: `{"idempotencyKey":"p1","IdempotencyKey":"what"}`,
		`5`:                         `5`,
	} {
		next, err := openLines(strings.NewReader(given), fileOptions{name: "a.ndjson", keyPrefix: "p"})
		require.NoError(t, err)
		l, err := next()
		require.NoError(t, err)
		require.Equal(t, want, string(l.body))
	}
}
