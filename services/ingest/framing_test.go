package ingest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// postHead is the header of a request with a message, without the fields that
// frame its body.
const postHead = "POST " + messages + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

// inChunks encodes a body as one chunk.
func inChunks(body string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body) }

// A connection carries a valid request, then one that a proxy could read in
// another way, then one that must get no response: it could be part of a body
// (request smuggling).
func TestARequestWithAmbiguousFramingIsRejected(t *testing.T) {
	t.Parallel()
	i := start(t)
	const health = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
	chunked := "Transfer-Encoding: chunked\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(hello))
	longer := fmt.Sprintf("Content-Length: %d\r\n", len(hello)+len(health))
	for name, request := range map[string]string{
		"two lengths":                postHead + length + longer + "\r\n" + hello,
		"two lengths, the other way": postHead + longer + length + "\r\n" + hello,
		"a length and chunks":        postHead + "Content-Length: 4\r\n" + chunked + "\r\n" + inChunks(hello),
		"chunks and a length":        postHead + chunked + "Content-Length: 4\r\n\r\n" + inChunks(hello),
		"xchunked":                   postHead + length + "Transfer-Encoding: xchunked\r\n\r\n" + hello,
		"identity":                   postHead + length + "Transfer-Encoding: identity\r\n\r\n" + hello,
		"identity alone":             postHead + "Transfer-Encoding: identity\r\n\r\n" + hello,
		"gzip, chunked":              postHead + "Transfer-Encoding: gzip, chunked\r\n\r\n" + inChunks(hello),
		"chunked, gzip":              postHead + "Transfer-Encoding: chunked, gzip\r\n\r\n" + inChunks(hello),
		"two codings":                postHead + chunked + "Transfer-Encoding: identity\r\n\r\n" + inChunks(hello),
		"a space before the colon":   postHead + length + "Transfer-Encoding : chunked\r\n\r\n" + hello,
		"a length with a sign":       postHead + fmt.Sprintf("Content-Length: +%d\r\n\r\n", len(hello)) + hello,
		"a list of lengths":          postHead + fmt.Sprintf("Content-Length: %d, %[1]d\r\n\r\n", len(hello)) + hello,
		"a negative length":          postHead + "Content-Length: -1\r\n\r\n" + hello,
		"a length beyond 64 bits":    postHead + "Content-Length: 18446744073709551652\r\n\r\n" + hello,
		"bare LF":                    strings.ReplaceAll(postHead+length+"\r\n", "\r\n", "\n") + hello,
		"bare LF after the target":   strings.Replace(postHead, "\r\n", "\n", 1) + length + "\r\n" + hello,
		"bare LF before the end":     postHead + strings.TrimSuffix(length, "\r\n") + "\n\r\n" + hello,
		"a folded header":            postHead + "X-A: b\r\n Transfer-Encoding: chunked\r\n" + length + "\r\n" + hello,
		"bare LF in chunks":          postHead + chunked + "\r\n" + strings.ReplaceAll(inChunks(hello), "\r\n", "\n"),
		"bare LF in an extension":    postHead + chunked + "\r\n" + fmt.Sprintf("%x;a=\n%s\r\n0\r\n\r\n", len(hello), hello),
		"0x before a chunk's size":   postHead + chunked + "\r\n0x" + inChunks(hello),
		"two hosts":                  "GET " + statusPath + " HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
		"two hosts, the other way":   "GET " + statusPath + " HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n\r\n",
		"another host in the target": "GET http://evil.example" + statusPath + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"our host in the target":     "GET http://localhost" + statusPath + " HTTP/1.1\r\nHost: evil.example\r\n\r\n",
		"a host for a path":          "GET //localhost" + statusPath + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			replies := exchange(t, i, health+request+health)
			require.Len(t, replies, 2, "nothing after it gets a response")
			require.Equal(t, http.StatusOK, replies[0].status)
			replies[1].problem(http.StatusBadRequest, "malformed")
			require.Equal(t, "close", replies[1].header.Get("Connection"))
		})
	}
	require.Empty(t, i.list("").Data, "nothing was stored")
}

// Valid framing of clients and proxies is accepted.
func TestRequestsWithValidFramingAreServed(t *testing.T) {
	t.Parallel()
	i := start(t)
	length := fmt.Sprintf("Content-Length: %d\r\n", len(hello))
	byLength := postHead + length + "\r\n" + hello
	chunked := postHead + "Transfer-Encoding: chunked\r\n"
	for name, c := range map[string]struct {
		stream string
		want   []int
	}{
		"pipelined": {byLength + byLength + chunked + "\r\n" + inChunks(hello) + byLength, []int{201, 201, 201, 201}},
		"extensions and trailers": {chunked + "Trailer: X-Sum\r\n\r\n" + fmt.Sprintf("5;a;b=\"c\"\r\n%s\r\n%X;d\r\n%s\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", hello[:5], len(hello)-5, hello[5:]) +
			byLength, []int{201, 201}},
		"a body that waits to be asked for": {postHead + "Expect: 100-continue\r\n" + length + "\r\n" + hello + byLength, []int{100, 201, 201}},
		"HTTP/1.0":                          {strings.Replace(byLength, "HTTP/1.1", "HTTP/1.0", 1), []int{201}},
		"HTTP/1.0 that goes on":             {strings.Replace(byLength, "HTTP/1.1\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n", 1) + byLength, []int{201, 201}},
		"a GET with a body":                 {"GET /health HTTP/1.1\r\nHost: localhost\r\n" + length + "\r\n" + hello + byLength, []int{200, 201}},
		"a full target":                     {"GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n" + byLength, []int{200, 201}},
		"one CRLF too many":                 {byLength + "\r\n" + byLength, []int{201, 201}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []int
			for _, r := range exchange(t, i, c.stream) {
				got = append(got, r.status)
			}
			require.Equal(t, c.want, got)
		})
	}
}

// The response begins before the body has ended.
func TestAStreamWithInvalidFramingEndsWithAProblem(t *testing.T) {
	t.Parallel()
	i := start(t)
	line := hello + "\n"
	replies := exchange(t, i, "POST "+batches+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"+
		fmt.Sprintf("%x\r\n%s\r\n%[1]x\n%[2]s\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", len(line), line))
	require.Len(t, replies, 1)
	lines := bytes.Split(bytes.TrimSpace(replies[0].body), []byte("\n"))
	require.Len(t, lines, 2)
	var end struct{ Error problem }
	require.NoError(t, json.Unmarshal(lines[1], &end))
	require.Equal(t, "malformed", end.Error.Code)
	require.Contains(t, end.Error.Detail, "LF without CR")
	require.Len(t, i.list("").Data, 1)
}

// exchange sends requests on one connection, and returns all responses until it
// is closed.
func exchange(t *testing.T, i *installation, stream string) (replies []reply) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(i.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, stream)
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	reader := bufio.NewReader(conn)
	for {
		if _, err := reader.Peek(1); err != nil {
			require.ErrorIs(t, err, io.EOF)
			return replies
		}
		response, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		if response.Close {
			response.Header.Set("Connection", "close") // ReadResponse removes it
		}
		replies = append(replies, reply{t: t, status: response.StatusCode, header: response.Header, body: body})
	}
}
