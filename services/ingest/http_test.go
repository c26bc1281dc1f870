package ingest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAWrongMethodNamesTheRightOnes(t *testing.T) {
	t.Parallel()
	i := start(t)
	for path, allow := range map[string]string{
		batches:                    "GET, HEAD, POST",
		messages + "/x/cancel":     "POST",
		"/api/v1/messaging":        "PATCH",
		"/api/v1/messaging/start":  "POST",
		"/api/v1/messaging/status": "GET, HEAD",
		"/health":                  "GET, HEAD",
		"/metrics":                 "GET, HEAD",
	} {
		for _, method := range []string{http.MethodDelete, "BREW"} {
			refused := i.send(method, path, "")
			refused.problem(http.StatusMethodNotAllowed, "method_not_allowed")
			require.ElementsMatch(t, strings.Split(allow, ", "), strings.Split(strings.Join(refused.header.Values("Allow"), ", "), ", "), path)
		}
	}
}

func TestOnlyJSONIsAccepted(t *testing.T) {
	t.Parallel()
	i := start(t)
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", "application/json; charset=latin1", "application/json; charset=utf-16", "application/json; charset=utf-8; charset=latin1", "application/ndjson", "json", ";"} {
		i.send(http.MethodPost, messages, hello, "Content-Type", contentType).problem(http.StatusUnsupportedMediaType, "unsupported_media_type")
	}
	for _, contentType := range []string{
		"application/json", "Application/JSON", "application/json;", "application/json; charset=UTF-8", "application/json;charset=utf8",
		`application/json; Charset="Utf-8"`, "application/json; version=1; charset=UTF8", "application/json;odata.metadata=none",
	} {
		i.post(hello, "Content-Type", contentType)
	}
	for _, contentType := range []string{"application/x-ndjson", "application/ndjson", "application/jsonl", "Application/JSONL; charset=utf8"} {
		require.Len(t, stream(t, i.send(http.MethodPost, batches, hello+"\n"+hello, "Content-Type", contentType)), 2)
	}
}

func TestATooLargeBodyGets413(t *testing.T) {
	t.Parallel()
	i := start(t)
	huge := `{"to":"+905551111111","payload":"` + strings.Repeat("x", 20<<20) + `"}`
	for range 3 {
		i.send(http.MethodPost, messages, huge).problem(http.StatusRequestEntityTooLarge, "too_large")
		i.send(http.MethodPost, batches, huge, "Expect", "100-continue").problem(http.StatusRequestEntityTooLarge, "too_large")
	}
	// The same without a Content-Length.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.url+messages, io.MultiReader(strings.NewReader(huge)))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := i.client.Do(request)
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode)
	i.post(hello)
}

func TestABodyWithoutALengthIsAccepted(t *testing.T) {
	t.Parallel()
	i := start(t)
	conn := i.dial()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", messages)
	fmt.Fprintf(conn, "5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", hello[:5], len(hello)-5, hello[5:])
	require.Equal(t, "HTTP/1.1 201 Created", statusLine(t, conn))
}

// The next request on the connection must not be part of a body.
func TestTheRestOfABodyIsNotARequest(t *testing.T) {
	t.Parallel()
	i := start(t)
	for _, framing := range []string{"Content-Length: %d\r\n\r\n%s", "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"} {
		conn := i.dial()
		smuggled := "GET /api/v1/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n" + strings.Repeat("x", 20_000)
		// Rejected before its body is read.
		fmt.Fprintf(conn, "POST "+messages+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"+framing, len(smuggled), smuggled)
		fmt.Fprintf(conn, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
		reader := bufio.NewReader(conn)
		for _, want := range []int{http.StatusUnsupportedMediaType, http.StatusOK} {
			response, err := http.ReadResponse(reader, nil)
			require.NoError(t, err)
			require.Equal(t, want, response.StatusCode)
			require.NoError(t, response.Body.Close()) // reads it to its end
		}
	}
}

func TestWhatIsNotHTTPGetsAProblem(t *testing.T) {
	t.Parallel()
	i := start(t)
	for request, want := range map[string]string{
		"hello\r\n\r\n": "HTTP/1.1 400 Bad Request",
		"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 20_000) + "\r\n\r\n": "HTTP/1.1 431 Request Header Fields Too Large",
	} {
		conn := i.dial()
		_, err := io.WriteString(conn, request)
		require.NoError(t, err)
		all, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Contains(t, string(all), want)
		require.Contains(t, string(all), "application/problem+json")
	}
}

func TestAClientThatLeavesEarlyHarmsNobody(t *testing.T) {
	t.Parallel()
	i := start(t)
	for range 20 {
		conn := i.dial()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", messages)
		conn.Close()
		conn = i.dial()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", messages, len(hello), hello)
		conn.Close()
	}
	i.post(hello)
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	i := start(t)
	require.Equal(t, "abc-1", i.send(http.MethodGet, messages, "", "X-Request-Id", "abc-1").header.Get("X-Request-Id"))
	made := i.send(http.MethodGet, messages, "").header.Get("X-Request-Id")
	require.Len(t, made, 36)
	for _, bad := range []string{"a b", "a\"b", "<x>", strings.Repeat("x", 129), "ü"} {
		p := i.send(http.MethodGet, messages+"/x", "", "X-Request-Id", bad).problem(http.StatusBadRequest, "invalid_parameters")
		require.NotEqual(t, bad, p.RequestID)
	}
}

func TestADrainFinishesRequestsThatHaveBegun(t *testing.T) {
	t.Parallel()
	i := start(t)
	idle, silent, begun := i.dial(), i.dial(), i.dial()
	fmt.Fprintf(idle, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.Equal(t, "HTTP/1.1 200 OK", statusLine(t, idle))
	fmt.Fprintf(begun, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		messages, len(hello)+20_000, strings.Repeat(" ", 19_000))
	// Once its first 8 KiB have been read, the handler has the request.
	require.Eventually(t, func() bool {
		return strings.Contains(string(i.send(http.MethodGet, "/metrics", "").body), "dispatch_ingest_http_requests_in_flight 2")
	}, patience, 5*time.Millisecond)

	stopped := make(chan struct{})
	go func() { defer close(stopped); i.stop() }()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(i.url, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, patience, 5*time.Millisecond, "the listener closes")
	fmt.Fprint(begun, strings.Repeat(" ", 1_000)+hello)
	require.Equal(t, "HTTP/1.1 201 Created", statusLine(t, begun))
	began := time.Now()
	<-stopped
	require.Less(t, time.Since(began), 5*time.Second, "a client that says nothing does not hold the drain up")
	_ = silent
}

func (i *installation) dial() net.Conn {
	i.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(i.url, "http://"))
	require.NoError(i.t, err)
	i.t.Cleanup(func() { conn.Close() })
	return conn
}

func statusLine(t testing.TB, conn net.Conn) string {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	line, err := textproto.NewReader(bufio.NewReader(conn)).ReadLine()
	require.NoError(t, err)
	return line
}
