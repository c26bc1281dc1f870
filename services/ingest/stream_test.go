package ingest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

const lineType = "application/x-ndjson"

// lineResult is one line of the response to a stream.
type lineResult struct {
	Index    *int
	ID       *message.ID
	Repeated bool
	Error    *problem
}

// conversation is a stream that is open in both directions.
type conversation struct {
	t        testing.TB
	lines    *io.PipeWriter
	response *bufio.Reader
	close    func()
}

// converse opens a stream. It sends the first line before the response begins.
func (i *installation) converse(first string) *conversation {
	i.t.Helper()
	body, lines := io.Pipe()
	ctx, cancel := context.WithCancel(i.t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, i.url+batches, body)
	require.NoError(i.t, err)
	request.Header.Set("Content-Type", lineType)
	go fmt.Fprintln(lines, first)
	response, err := i.client.Do(request) //nolint:bodyclose // the conversation closes it
	require.NoError(i.t, err)
	require.Equal(i.t, http.StatusOK, response.StatusCode)
	require.Equal(i.t, lineType, response.Header.Get("Content-Type"))
	c := &conversation{t: i.t, lines: lines, response: bufio.NewReader(response.Body), close: func() {
		cancel()
		response.Body.Close()
	}}
	i.t.Cleanup(c.close)
	return c
}

func (c *conversation) say(text string) {
	c.t.Helper()
	_, err := io.WriteString(c.lines, text)
	require.NoError(c.t, err)
}

func (c *conversation) hear() lineResult {
	c.t.Helper()
	text, err := c.response.ReadString('\n')
	require.NoError(c.t, err)
	var l lineResult
	require.NoError(c.t, json.Unmarshal([]byte(text), &l), "%s", text)
	return l
}

// hearTheEnd checks that the response ends.
func (c *conversation) hearTheEnd() {
	c.t.Helper()
	rest, err := io.ReadAll(c.response)
	require.NoError(c.t, err)
	require.Empty(c.t, string(rest))
}

func stream(t testing.TB, r reply) []lineResult {
	t.Helper()
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	require.Equal(t, lineType, r.header.Get("Content-Type"))
	var all []lineResult
	for text := range strings.Lines(string(r.body)) {
		var l lineResult
		require.NoError(t, json.Unmarshal([]byte(text), &l), "%s", text)
		all = append(all, l)
	}
	return all
}

// A last line without a line feed counts, blank lines do not, and an invalid line
// does not affect the others.
func TestAStreamGetsAResultForEachLine(t *testing.T) {
	t.Parallel()
	i := start(t)
	got := stream(t, i.send(http.MethodPost, batches, strings.Join([]string{
		`{"to":"+905551111111","content":"one","idempotencyKey":"k"}`,
		``,
		`{"to":"nobody","content":""}`,
		" \t\r",
		`{"to":"+905551111111","content":"one","idempotencyKey":"k"}` + "\r",
		`7`,
		`{"to":"+905551111111","payload":"` + strings.Repeat("x", 1<<20) + `"}`,
		`{"to":"+905551111111",`,
		`{"to":"+905551111111","content":"two","idempotencyKey":"k"}`,
		`{"to":"+905551111111","payload":[1]}`,
	}, "\n"), "Content-Type", lineType))
	require.Len(t, got, 8)
	for n, l := range got {
		require.Equal(t, n, *l.Index)
		require.NotEqual(t, l.ID == nil, l.Error == nil)
	}
	require.ElementsMatch(t, []string{"to invalid_phone_number", "content blank"}, got[1].Error.invalidFields())
	require.Equal(t, got[0].ID, got[2].ID)
	require.True(t, got[2].Repeated)
	for n, code := range map[int]string{3: "malformed", 4: "too_large", 5: "malformed", 6: "idempotency_key_reused"} {
		require.Equal(t, code, got[n].Error.Code)
	}
	require.Len(t, i.list("").Data, 2)

	require.Empty(t, stream(t, i.send(http.MethodPost, batches, "\n\n", "Content-Type", lineType)))
	i.send(http.MethodPost, batches, hello, "Content-Type", lineType, "Idempotency-Key", "k").invalidFields("Idempotency-Key not_supported")
	i.send(http.MethodPost, batches+"?x=1", hello, "Content-Type", lineType).problem(http.StatusBadRequest, "invalid_parameters")
	i.send(http.MethodPost, messages, hello, "Content-Type", lineType).problem(http.StatusUnsupportedMediaType, "unsupported_media_type")
	refused := i.send(http.MethodPost, batches, hello, "Content-Type", "text/plain")
	refused.problem(http.StatusUnsupportedMediaType, "unsupported_media_type")
	require.Equal(t, "application/json, application/jsonl, application/ndjson, application/x-ndjson", refused.header.Get("Accept-Post"))
}

// TestALongStreamNeedsLittleMemory sends 32 MB while it reads the results. It is
// not parallel: the memory of other tests would count.
func TestALongStreamNeedsLittleMemory(t *testing.T) {
	const lines, allowed = 20_000, 16 << 20
	i := start(t)
	payload := strings.Repeat("x", 1500)
	body, written := io.Pipe()
	go func() {
		for n := range lines {
			line := fmt.Sprintf(`{"to":"+905551111111","payload":{"n":%d,"x":%q}}`, n, payload)
			if n%10 == 3 {
				line = `{"to":"+905551111111"}`
			}
			if _, err := fmt.Fprintln(written, line); err != nil {
				return
			}
		}
		written.Close()
	}()
	before := heap()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.url+batches, body)
	require.NoError(t, err)
	request.Header.Set("Content-Type", lineType)
	response, err := i.client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	results := bufio.NewScanner(response.Body)
	var last message.ID
	n := 0
	for ; results.Scan(); n++ {
		var l lineResult
		require.NoError(t, json.Unmarshal(results.Bytes(), &l))
		require.Equal(t, n, *l.Index)
		if n%10 == 3 {
			require.Equal(t, "invalid", l.Error.Code)
		} else {
			require.Nil(t, l.Error)
			require.Less(t, last.String(), l.ID.String(), "ids are in the order of the lines")
			last = *l.ID
		}
		if n%2000 == 1999 {
			now := heap()
			t.Logf("%d KiB more", (int64(now)-int64(before))>>10)
			require.Less(t, now, before+allowed, "after %d lines", n)
		}
	}
	require.NoError(t, results.Err())
	require.Equal(t, lines, n)
	var counts struct{ Counts map[message.Status]int }
	require.NoError(t, i.store.ProvisionSchedule(t.Context(), time.Minute, 2))
	i.send(http.MethodGet, statusPath, "").into(http.StatusOK, &counts)
	require.Equal(t, lines*9/10, counts.Counts[message.Pending])
}

// heap returns the bytes in use. Memory that is allocated during a garbage
// collection counts as in use until the next one, so it takes the minimum of
// several.
func heap() uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		least = min(least, stats.HeapAlloc)
	}
	return least
}

func TestAStreamGetsResultsBeforeItsEnd(t *testing.T) {
	t.Parallel()
	i := start(t)
	c := i.converse(hello)
	first := c.hear()
	require.Equal(t, *first.ID, i.list("").Data[0].ID, "a message with a result is stored")
	for range 5 {
		c.say(hello + "\n")
		require.NotNil(t, c.hear().ID)
	}
	require.NoError(t, c.lines.Close())
	c.hearTheEnd()
}

func TestAnOutageMidwayMarksTheRest(t *testing.T) {
	t.Parallel()
	pg := startPostgres(t)
	pg.migrate()
	i := launch(t, "DATABASE_URL", pg.URL("dispatch"))
	i.awaitReady(http.StatusOK)
	c := i.converse(hello)
	require.NotNil(t, c.hear().ID)

	pg.stop()
	c.say(hello + "\n")
	require.Equal(t, "unavailable", c.hear().Error.Code)

	pg.start()
	i.awaitReady(http.StatusOK)
	for range 3 {
		c.say(hello + "\n" + `{}` + "\n")
		for range 2 {
			l := c.hear()
			require.Equal(t, "unavailable", l.Error.Code, "also when it is back: what is stored is the beginning, without gaps")
			require.Equal(t, http.StatusServiceUnavailable, l.Error.Status)
		}
	}
	require.NoError(t, c.lines.Close())
	c.hearTheEnd()
	require.Len(t, i.list("").Data, 1)
}

func TestAClientThatLeavesMidwayEndsItsStream(t *testing.T) {
	t.Parallel()
	i := start(t)
	for range 5 {
		c := i.converse(hello)
		require.NotNil(t, c.hear().ID)
		c.say(hello[:10])
		c.close()
	}
	// A body that ends early is stored up to its last complete line.
	conn := i.dial()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s\n%s\n%s",
		batches, lineType, 20_000, hello, strings.Repeat(" ", 10_000), hello[:10])
	require.NoError(t, conn.(interface{ CloseWrite() error }).CloseWrite())
	answered, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Contains(t, string(answered), "HTTP/1.1 200 OK")
	require.Contains(t, string(answered), "the body ended early")

	require.Eventually(t, func() bool {
		return strings.Contains(string(i.send(http.MethodGet, "/metrics", "").body), "dispatch_ingest_http_requests_in_flight 1")
	}, patience, 5*time.Millisecond, "nothing of a stream stays behind")
	require.Len(t, i.list("").Data, 6)
}

func TestADrainEndsAStream(t *testing.T) {
	t.Parallel()
	i := start(t)
	c := i.converse(hello)
	require.NotNil(t, c.hear().ID)
	c.say(hello[:10])
	began := time.Now()
	i.stop()
	require.Less(t, time.Since(began), 5*time.Second)
	end := c.hear()
	require.Nil(t, end.Index)
	require.Equal(t, "unavailable", end.Error.Code)
	require.Contains(t, end.Error.Detail, "stopping")
	c.hearTheEnd()
}

// This bounds the memory.
func TestAStreamStopsReadingIfItsClientDoesNotReadResults(t *testing.T) {
	t.Parallel()
	i := start(t)
	conn := i.dial()
	require.NoError(t, conn.SetWriteDeadline(time.Now().Add(2*time.Second)))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", batches, lineType, 1<<30)
	block := []byte(strings.Repeat("{}\n", 10_000))
	sent := 0
	for {
		n, err := conn.Write(block)
		sent += n
		if err != nil {
			break
		}
		require.Less(t, sent, 64<<20)
	}
}
