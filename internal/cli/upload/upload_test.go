package upload_test

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

	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
	"github.com/message-dispatcher/dispatch/internal/cli/upload"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// lineLimit is what a line of a file may have at most, in bytes.
const lineLimit = 16 << 20

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
	done := i.Dispatch(t, "send", "--file", file)
	require.Equal(t, "3 accepted, 3 rejected\n", done.Out)
	done.Fails(t, 1,
		"line 5: 3 errors (invalid)\n  to: ", "\n  content: ", "\n  priority: must be ",
		"line 6: has 2 columns, the first line 5",
		"line 8: payload is not JSON")
	require.NotContains(t, done.ErrOut, "line 7")

	var page struct{ Data []message.Message }
	require.NoError(t, json.Unmarshal([]byte(i.Dispatch(t, "list", "--json").OK(t)), &page))
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
	done := i.Dispatch(t, "send", "--file", file)
	require.Equal(t, "2 accepted, 1 rejected\n", done.Out)
	done.Fails(t, 1, "line 3: is not CSV: ", "lines 3 to 5 are one quoted field, and none of them is sent")

	endless := dispatchWith(t, "to,content\n+905551111111,\""+strings.Repeat("x\n", lineLimit), "send", "--file", "-", "--url", i.URL)
	endless.Fails(t, 1, "after line 1: a line is longer than", "a quote is not closed")
}

func TestSendAFileOfNDJSONFromStandardInput(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	text := `{"to":"+905551111111","content":"1"}` + "\n\nbroken\n5\n" + `{"to":"+905551111111","payload":{"b":  1},"idempotencyKey":"mine"}`
	done := dispatchWith(t, text, "send", "--file", "-", "--key-prefix", "k-", "--json", "--url", i.URL)
	require.Equal(t, 1, done.Code)
	require.Empty(t, done.ErrOut, "JSON tells it all")
	var lines []upload.Line
	decoder := json.NewDecoder(strings.NewReader(done.Out))
	for range 4 {
		var l upload.Line
		require.NoError(t, decoder.Decode(&l))
		lines = append(lines, l)
	}
	var sums upload.Sums
	require.NoError(t, decoder.Decode(&sums))
	require.Equal(t, upload.Sums{Accepted: 2, Rejected: 2}, sums)
	require.Equal(t, []int{1, 3, 4, 5}, []int{lines[0].Line, lines[1].Line, lines[2].Line, lines[3].Line})
	require.Equal(t, "unreadable", lines[1].Error.Code)
	require.Equal(t, "is not JSON: invalid character 'b' looking for beginning of value, at byte 1", lines[1].Error.Detail)
	require.Equal(t, "malformed", lines[2].Error.Code)
	require.Equal(t, "it must be a JSON object, is a number", lines[2].Error.Detail)

	repeat := dispatchWith(t, text, "send", "--file", "-", "--key-prefix", "k-", "--url", i.URL)
	require.Equal(t, "2 accepted (2 of them stored before), 2 rejected\n", repeat.Out)
	require.Contains(t, i.Dispatch(t, "send", "+905551111111", "1", "--key", "k-1").OK(t), lines[0].ID.String(), "the key is prefix and line number")
	i.Dispatch(t, "send", "+905551111111", "1", "--key", "mine").Fails(t, 1, "idempotency_key_reused")
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
	i.Dispatch(t, "stop").OK(t) // the first tick may be late, and would take two
	var text strings.Builder
	for n := range 2500 {
		fmt.Fprintf(&text, "{\"to\":\"+905551111111\",\"content\":\"%d\"}\n", n)
	}
	file := fileOf(t, "many.ndjson", text.String())

	broken := dispatch(t, "send", "--file", file, "--key-prefix", "x", "--url", breaking(t, i.URL, 2))
	broken.Fails(t, 3, "no answer from", "done up to line 2000: 2000 accepted, 0 rejected", "repeat the same command")
	dispatch(t, "send", "--file", file, "--url", breaking(t, i.URL, 0)).Fails(t, 3, "no line is done", "--key-prefix")

	whole := i.Dispatch(t, "send", "--file", file, "--key-prefix", "x")
	require.Equal(t, "2500 accepted (2000 of them stored before), 0 rejected\n", whole.OK(t))
	require.Equal(t, "1000 accepted (1000 of them stored before), 0 rejected\n2000 accepted (2000 of them stored before), 0 rejected\n", whole.ErrOut, "plain progress where nobody watches")
	require.Equal(t, "2500", clitest.Field(i.Dispatch(t, "status").OK(t), "PENDING"))
}

// TestOverloadAndOutageOfSomeLines is about answers that a healthy API does
// not give.
func TestOverloadAndOutageOfSomeLines(t *testing.T) {
	t.Parallel()
	answers := []string{
		`{"results":[{"index":0,"error":{"status":429,"code":"overloaded"}},{"index":1,"id":"` + "01932a5c-6a00-7f3e-9b1d-0242ac120002" + `"}]}`,
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
	done.Fails(t, 3, "away (unavailable)", "no line is done")
	require.Equal(t, []string{`[{"to":"a"},{"to":"b"}]`, `[{"to":"a"}]`}, bodies, "only what was refused is sent again")
}

func TestSendAFileSaysWhatIsAllowed(t *testing.T) {
	t.Parallel()
	dispatch(t, "send", "--file", "nowhere.csv").Fails(t, 2, "nowhere.csv")
	dispatch(t, "send", "--file", fileOf(t, "a.csv", "to,text\n")).Fails(t, 2, `"text"`, "to, phoneNumber, content, ", "metadata.NAME")
	dispatch(t, "send", "--file", fileOf(t, "a.csv", "to,to\n")).Fails(t, 2, "twice")
	dispatch(t, "send", "--file", fileOf(t, "a.csv", "")).Fails(t, 2, "titles")
	dispatch(t, "send", "--file", fileOf(t, "a.json", "[{}]")).Fails(t, 2, "jq")
	dispatch(t, "send", "--file", fileOf(t, "a", "{}"), "--format", "xml").Fails(t, 2, "ndjson and csv")
	dispatch(t, "send", "--file", fileOf(t, "a.ndjson", "{}"), "--url", unused).Fails(t, 3, "no answer from "+unused, "no line is done")
	dispatch(t, "send", "--file", fileOf(t, "a.ndjson", strings.Repeat("x", lineLimit+1))).Fails(t, 1, "line 1 is longer than")
	require.Equal(t, "0 accepted, 0 rejected\n", dispatch(t, "send", "--file", fileOf(t, "empty", "")).OK(t))
}

func TestAFileThatIsNoTextIsRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	turkish := "to,content\n+905551111111,good\n+905551111111,\xfeimdi \xe7a\xf0r\xfd\n" + strings.Repeat("+905551111111,\xfe\n", 30)
	refused := dispatch(t, "send", "--file", fileOf(t, "a.csv", turkish), "--url", unused)
	refused.Fails(t, 2, "a.csv is not UTF-8; nothing was sent\n  line 3: byte 15 is 0xFE\n  line 4: byte 15 is 0xFE\n", "\n  and 11 more lines\n--encoding says what it is")
	require.NotContains(t, refused.ErrOut, "line 23:")
	dispatch(t, "send", "--file", fileOf(t, "a.csv", turkish), "--encoding", "windows-1254", "--url", unused).Fails(t, 3, "no answer from")

	dispatch(t, "send", "--file", fileOf(t, "a.csv", "to\n"), "--encoding", "latin-99").Fails(t, 2, `--encoding "latin-99": no such encoding is known`)
	dispatch(t, "send", "--file", fileOf(t, "a.csv", "\ufeffto\n"), "--encoding", "windows-1254").Fails(t, 2, "its byte order mark says that the file is utf-8")
	dispatch(t, "send", "--file", fileOf(t, "a.csv", "t\x00o\x00\n\x00")).Fails(t, 2, "UTF-16 without a byte order mark")
	dispatch(t, "send", "--file", fileOf(t, "a.csv", "sep=;\nto;content\n"), "--separator", ",").Fails(t, 2, `the file says on its first line that it is ';'`)
	dispatch(t, "send", "--file", fileOf(t, "a.csv", "to\n"), "--separator", "ab").Fails(t, 2, "one character, or tab")
	dispatch(t, "send", "--file", fileOf(t, "a.ndjson", "{}\n"), "--separator", ";").Fails(t, 2, "--separator goes with CSV")
	dispatch(t, "send", "--file", fileOf(t, "a.csv", "to\n"), "--country", "XX").Fails(t, 2, "--country: ", "is no country such as TR")
	dispatch(t, "send", "--file", fileOf(t, "a.csv", "to\n"), "--country", "TR", "--plus").Fails(t, 2, "--country and --plus")
	dispatch(t, "send", "--file", fileOf(t, "a.csv", "To;Text\n")).Fails(t, 2, `column "Text": there are to, phoneNumber, content`, "(--separator)")
	dispatch(t, "send", "+905551111111", "x", "--encoding", "windows-1254").Fails(t, 2, "go with --file")
}

func TestANumberWithoutPlusIsRefusedWithAdvice(t *testing.T) {
	t.Parallel()
	i := startUp(t)
	i.Dispatch(t, "send", "905551111111", "hello").Fails(t, 1, "to: ", "--country TR")
	i.Dispatch(t, "send", "9.05E+11", "hello").Fails(t, 2, `TO: "9.05E+11" is a number that a spreadsheet has rounded`)
	require.Equal(t, "+905551111111", clitest.Field(i.Dispatch(t, "send", "0555 111 11 11", "hello", "--country", "TR").OK(t), "to"))
	require.Equal(t, "+905551111111", clitest.Field(i.Dispatch(t, "send", "905551111111", "hello", "--plus").OK(t), "to"))

	file := fileOf(t, "a.csv", "To;Content\r\n905551111113;one\r\n+905551111113;two\r\n905551111113;three\r\n")
	refused := i.Dispatch(t, "send", "--file", file)
	require.Equal(t, "1 accepted, 2 rejected\n", refused.Out)
	refused.Fails(t, 1, "line 2: ", "line 4: ", "2 rejected lines have a number without a +: ", "--country TR")
	require.Equal(t, "3 accepted, 0 rejected\n", i.Dispatch(t, "send", "--file", file, "--country", "TR").OK(t))

	var page struct{ Data []message.Message }
	require.NoError(t, json.Unmarshal([]byte(i.Dispatch(t, "list", "--to", "0555 111 11 13", "--country", "TR", "--json").OK(t)), &page))
	require.Len(t, page.Data, 4)
	empty := i.Dispatch(t, "list", "--to", "905551111113")
	empty.OK(t)
	require.Contains(t, empty.ErrOut, "--country TR", "it does not look as if there were no messages")
	i.Dispatch(t, "erase", "905551111113", "--yes").Fails(t, 1, "--country TR")
	require.Equal(t, "4", clitest.Field(i.Dispatch(t, "erase", "905551111113", "--country", "TR", "--dry-run").OK(t), "messages"))
}

func TestRejectedLinesAreToldUpToABound(t *testing.T) {
	t.Parallel()
	text := "to,content\n" + strings.Repeat("9.05E+11,a\n", 300)
	done := dispatch(t, "send", "--file", fileOf(t, "a.csv", text), "--url", unused)
	require.Equal(t, "0 accepted, 300 rejected\n", done.Out)
	done.Fails(t, 1, "line 201: ", "more lines are rejected; --json prints all of them")
	require.NotContains(t, done.ErrOut, "line 202: ")
	require.Equal(t, 1, strings.Count(done.ErrOut, "more lines"))
}
