package framing

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

const (
	host = "Host: localhost\r\n"
	get  = "GET /health HTTP/1.1\r\n" + host + "\r\n"
	post = "POST /x HTTP/1.1\r\n" + host
)

// TestWellFramedRequestsPass sends requests that the RFCs allow, each followed by
// another request, in one piece and in pieces of one byte.
func TestWellFramedRequestsPass(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"no body":                   get,
		"a body":                    post + "Content-Length: 5\r\n\r\n\n\r\nab",
		"no body, and its length":   post + "Content-Length: 0\r\n\r\n",
		"a length with zeros":       post + "Content-Length:\t0005 \r\n\r\nabcde",
		"a GET with a body":         "GET / HTTP/1.1\r\n" + host + "Content-Length: 4\r\n\r\n\r\n\r\n",
		"chunks":                    post + "Transfer-Encoding: chunked\r\n\r\n5\r\nab\n\r\n\r\n00A\r\n0123456789\r\n0\r\n\r\n",
		"capitals":                  post + "TRANSFER-encoding: Chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n",
		"extensions":                post + "Transfer-Encoding: chunked\r\n\r\n2;a;b=\"c;d\"\r\nab\r\n2;x\r\ncd\r\n000;last\r\n\r\n",
		"trailers":                  post + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n1\r\na\r\n0\r\nX: y\r\nZ:\r\n\r\n",
		"HTTP/1.0":                  "GET / HTTP/1.0\r\n\r\n",
		"HTTP/1.0 with a body":      "POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\na",
		"a CRLF too many before it": "\r\n" + get,
		"a full target":             "GET http://localhost:80/x?y HTTP/1.1\r\nHost: LOCALHOST:80\r\n\r\n",
		"a target within a target":  "GET /x?next=http://other/ HTTP/1.1\r\n" + host + "\r\n",
		"all of the server":         "OPTIONS * HTTP/1.1\r\n" + host + "\r\n",
		"an address of IPv6":        "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
		"a header without a value":  "GET / HTTP/1.1\r\nX-Empty:\r\n" + host + "\r\n",
		"headers that begin alike":  "GET / HTTP/1.1\r\nHosts: a\r\nHost: b\r\nX-Host: c\r\nContent-Lengths: 1\r\nTransfer-Encodings: x\r\n\r\n",
	} {
		stream := request + get
		for way, from := range ways(stream) {
			r := NewReader(from)
			passed, err := io.ReadAll(r)
			require.NoError(t, err, "%s, %s", name, way)
			require.Equal(t, stream, string(passed), "%s, %s", name, way)
			require.Nil(t, r.Err())
			require.Equal(t, requestLine, r.next, "%s, %s: the end is where a request may begin", name, way)
		}
		if !strings.HasPrefix(request, "\r\n") { // net/http does not accept it
			require.Equal(t, 2, requests(t, stream), name)
		}
	}
}

// TestAmbiguousRequestsAreRejected lists requests that must not reach a server. The
// Reader passes on less than the request, and nothing after it.
func TestAmbiguousRequestsAreRejected(t *testing.T) {
	t.Parallel()
	chunked := "Transfer-Encoding: chunked\r\n"
	for name, request := range map[string]string{
		"two lengths":                post + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
		"the same length twice":      post + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
		"a list of lengths":          post + "Content-Length: 4, 4\r\n\r\nabcd",
		"a length with a sign":       post + "Content-Length: +4\r\n\r\nabcd",
		"a negative length":          post + "Content-Length: -1\r\n\r\n",
		"a hexadecimal length":       post + "Content-Length: 0x4\r\n\r\nabcd",
		"a length with a point":      post + "Content-Length: 4.0\r\n\r\nabcd",
		"a length with a space":      post + "Content-Length: 4 4\r\n\r\nabcd",
		"a length of nothing":        post + "Content-Length: \r\n\r\n",
		"a length beyond 64 bits":    post + "Content-Length: 18446744073709551652\r\n\r\nabcd",
		"a length and chunks":        post + "Content-Length: 4\r\n" + chunked + "\r\n1\r\na\r\n0\r\n\r\n",
		"chunks and a length":        post + chunked + "Content-Length: 4\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"no coding":                  post + "Transfer-Encoding: identity\r\n\r\n",
		"no coding, and a length":    post + "Transfer-Encoding: identity\r\nContent-Length: 4\r\n\r\nabcd",
		"an unknown coding":          post + "Transfer-Encoding: xchunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"chunked, then gzip":         post + "Transfer-Encoding: chunked, gzip\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"gzip, then chunked":         post + "Transfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"chunked in quotes":          post + "Transfer-Encoding: \"chunked\"\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"chunked twice":              post + "Transfer-Encoding: chunked, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"two codings":                post + chunked + "Transfer-Encoding: identity\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"an empty coding":            post + "Transfer-Encoding:\r\n\r\n",
		"chunks in HTTP/1.0":         "POST / HTTP/1.0\r\n" + chunked + "\r\n1\r\na\r\n0\r\n\r\n",
		"a space before a colon":     post + "Transfer-Encoding : chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"a tab before a colon":       post + "Content-Length\t: 4\r\n\r\nabcd",
		"a space within a name":      post + "Content Length: 4\r\n\r\nabcd",
		"a name of no letters":       post + ": 4\r\n\r\n",
		"no colon":                   post + "Content-Length 4\r\n\r\n",
		"a folded header":            post + "X: a\r\n Transfer-Encoding: chunked\r\n\r\n",
		"a folded length":            post + "Content-Length:\r\n 4\r\n\r\nabcd",
		"white space at the start":   "POST /x HTTP/1.1\r\n Content-Length: 4\r\n" + host + "\r\nabcd",
		"white space for a line":     post + "Content-Length: 4\r\n \r\n\r\nabcd",
		"LF after the first line":    "GET / HTTP/1.1\n" + host + "\r\n",
		"LF after a header":          post + "Content-Length: 4\n\r\nabcd",
		"LF at the end of the head":  post + "Content-Length: 4\r\n\nabcd",
		"LF everywhere":              strings.ReplaceAll(post+"Content-Length: 4\r\n\r\nabcd", "\r\n", "\n"),
		"LF before the first line":   "\n" + get,
		"CR within a header":         post + "X: a\rContent-Length: 4\r\n\r\nabcd",
		"two CRs":                    post + "Content-Length: 4\r\r\n\r\nabcd",
		"two hosts":                  "GET / HTTP/1.1\r\n" + host + "Host: other\r\n\r\n",
		"the same host twice":        "GET / HTTP/1.1\r\n" + host + host + "\r\n",
		"no host":                    "GET / HTTP/1.1\r\nX: y\r\n\r\n",
		"a host with a user":         "GET / HTTP/1.1\r\nHost: localhost@other\r\n\r\n",
		"a host with a path":         "GET / HTTP/1.1\r\nHost: localhost/other\r\n\r\n",
		"two hosts in one":           "GET / HTTP/1.1\r\nHost: localhost other\r\n\r\n",
		"a target of another host":   "GET http://other/ HTTP/1.1\r\n" + host + "\r\n",
		"a target with a user":       "GET http://localhost@other/ HTTP/1.1\r\n" + host + "\r\n",
		"a target of another port":   "GET http://localhost:81/ HTTP/1.1\r\n" + host + "\r\n",
		"a target of another kind":   "GET file://localhost/ HTTP/1.1\r\n" + host + "\r\n",
		"a target with two slashes":  "GET //localhost/health HTTP/1.1\r\n" + host + "\r\n",
		"two spaces":                 "GET  / HTTP/1.1\r\n" + host + "\r\n",
		"a space in the target":      "GET /a b HTTP/1.1\r\n" + host + "\r\n",
		"a space behind it":          "GET / HTTP/1.1 \r\n" + host + "\r\n",
		"a method of no kind":        "G(T / HTTP/1.1\r\n" + host + "\r\n",
		"no version":                 "GET /\r\n" + host + "\r\n",
		"HTTP/0.9":                   "GET / HTTP/0.9\r\n\r\n",
		"HTTP/2":                     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"LF after a chunk's size":    post + chunked + "\r\n1\na\r\n0\r\n\r\n",
		"LF after a chunk":           post + chunked + "\r\n1\r\na\n0\r\n\r\n",
		"LF after an extension":      post + chunked + "\r\n1;a=\na\r\n0\r\n\r\n",
		"LF at the end of chunks":    post + chunked + "\r\n1\r\na\r\n0\r\n\n",
		"CR in an extension":         post + chunked + "\r\n1;a\rb\r\na\r\n0\r\n\r\n",
		"a chunk's size with 0x":     post + chunked + "\r\n0x1\r\na\r\n0\r\n\r\n",
		"a chunk's size of nothing":  post + chunked + "\r\n\r\na\r\n0\r\n\r\n",
		"a chunk's negative size":    post + chunked + "\r\n-1\r\na\r\n0\r\n\r\n",
		"a chunk's size and a tab":   post + chunked + "\r\n1\t\r\na\r\n0\r\n\r\n",
		"a chunk's size, and a word": post + chunked + "\r\n1 a\r\na\r\n0\r\n\r\n",
		"a chunk's endless size":     post + chunked + "\r\n10000000000000001\r\na\r\n0\r\n\r\n",
		"a chunk that is longer":     post + chunked + "\r\n1\r\nab\r\n0\r\n\r\n",
		"a chunk that is shorter":    post + chunked + "\r\n5\r\na\r\n0\r\n\r\n",
		"a length as a trailer":      post + chunked + "\r\n0\r\nContent-Length: 4\r\n\r\n",
		"a folded trailer":           post + chunked + "\r\n0\r\nX: a\r\n b\r\n\r\n",
		"a chunk's size, and a space before its extension": post + chunked + "\r\n1 ;a\r\na\r\n0\r\n\r\n", // allowed, but no server accepts it
	} {
		for way, from := range ways(get + request + get) {
			passed, err := io.ReadAll(NewReader(from))
			var refused *Error
			require.ErrorAs(t, err, &refused, "%s, %s", name, way)
			require.True(t, strings.HasPrefix(get+request, string(passed)), "%s, %s", name, way)
			require.Less(t, len(passed), len(get+request), "%s, %s: it is not complete", name, way)
			require.True(t, bytes.HasPrefix(passed, []byte(get)), "%s, %s: the one before it is", name, way)
		}
	}
}

// TestAnEndlessLineIsNotBuffered checks that a connection can't fill the server's
// memory.
func TestAnEndlessLineIsNotBuffered(t *testing.T) {
	t.Parallel()
	for start, limit := range map[string]int{
		"GET /":      maxHeadLine,
		post + "X: ": maxHeadLine,
		post + "Transfer-Encoding: chunked\r\n\r\n1;":       maxChunkLine,
		post + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: ": maxChunkLine,
	} {
		r := NewReader(io.MultiReader(strings.NewReader(start), &endless{text: []byte(strings.Repeat("x", 512))}))
		passed, err := io.ReadAll(r)
		require.ErrorAs(t, err, new(*Error))
		require.LessOrEqual(t, len(passed), len(start)+limit)
		require.LessOrEqual(t, cap(r.line), 2*limit)
	}
}

func TestARefusalLasts(t *testing.T) {
	t.Parallel()
	r := NewReader(strings.NewReader(get + "GET / HTTP/1.1\n" + get))
	_, err := io.ReadAll(r)
	require.Error(t, err)
	_, again := r.Read(make([]byte, 100))
	require.Equal(t, err, again)
	require.Equal(t, r.Err(), err)
}

// ways returns readers that deliver a stream in different ways.
func ways(stream string) map[string]io.Reader {
	return map[string]io.Reader{
		"in one piece":       strings.NewReader(stream),
		"byte by byte":       iotest.OneByteReader(strings.NewReader(stream)),
		"with its end":       iotest.DataErrReader(strings.NewReader(stream)),
		"in halves of reads": iotest.HalfReader(strings.NewReader(stream)),
	}
}

// requests counts the requests that net/http sees.
func requests(t *testing.T, stream string) (count int) {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(stream))
	for {
		request, err := http.ReadRequest(r)
		if errors.Is(err, io.EOF) {
			return count
		}
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, request.Body)
		require.NoError(t, err)
		count++
	}
}

// FuzzReader looks for streams whose result depends on how they arrive.
func FuzzReader(f *testing.F) {
	for _, stream := range []string{get + get, post + "Content-Length: 1\r\n\r\na", post + "Transfer-Encoding: chunked\r\n\r\n1;a\r\nb\r\n0\r\nX: y\r\n\r\n" + get} {
		f.Add(stream)
	}
	f.Fuzz(func(t *testing.T, stream string) {
		whole := NewReader(strings.NewReader(stream))
		passed, err := io.ReadAll(whole)
		slow := NewReader(iotest.OneByteReader(strings.NewReader(stream)))
		again, slowErr := io.ReadAll(slow)
		require.Equal(t, err == nil, slowErr == nil)
		if err == nil {
			require.Equal(t, passed, again)
			require.Equal(t, whole.next, slow.next)
		}
	})
}

// BenchmarkReader reads a typical request repeatedly.
func BenchmarkReader(b *testing.B) {
	request := "POST /api/v1/messages HTTP/1.1\r\n" + host + "User-Agent: Go-http-client/1.1\r\nContent-Length: 47\r\n" +
		"Authorization: Bearer 0123456789abcdef0123456789abcdef\r\nContent-Type: application/json\r\nIdempotency-Key: 0123456789\r\nAccept-Encoding: gzip\r\n\r\n" +
		`{"to":"+905551111111","content":"hello, world"}`
	from := &endless{text: []byte(request)}
	r := NewReader(from)
	p := make([]byte, 16<<10)
	b.ReportAllocs()
	for b.Loop() {
		if n, err := r.Read(p); err != nil || n != len(request) {
			b.Fatal(n, err)
		}
	}
}

type endless struct{ text []byte }

func (e *endless) Read(p []byte) (int, error) { return copy(p, e.text), nil }
