package ingest_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// gzipped compresses a text.
func gzipped(t testing.TB, text string) string {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return packed.String()
}

func TestABodyMayBeGzip(t *testing.T) {
	t.Parallel()
	i := start(t)
	for _, coding := range []string{"gzip", "GZIP", "x-gzip", "identity, gzip"} {
		i.post(gzipped(t, hello), "Content-Encoding", coding)
	}
	i.post(hello, "Content-Encoding", "identity")
	half := len(hello) / 2
	i.post(gzipped(t, hello[:half])+gzipped(t, hello[half:]), "Content-Encoding", "gzip") // two members of one body

	var batch struct{ Accepted, Rejected int }
	i.send(http.MethodPost, batches, gzipped(t, batchOf(1000)), "Content-Encoding", "gzip").into(http.StatusOK, &batch)
	require.Equal(t, 1000, batch.Accepted)
	results := stream(t, i.send(http.MethodPost, batches, gzipped(t, hello+"\n\n"+hello+"\nx\n"), "Content-Encoding", "gzip", "Content-Type", lineType))
	require.Len(t, results, 3)
	require.NotNil(t, results[1].ID)
	require.Equal(t, "malformed", results[2].Error.Code)

	first := i.post(hello, "Idempotency-Key", "k")
	again := i.send(http.MethodPost, messages, gzipped(t, hello), "Idempotency-Key", "k", "Content-Encoding", "gzip")
	require.Equal(t, first.ID, again.message(http.StatusOK).ID, "it is the same body")
	i.send(http.MethodPost, messages, gzipped(t, ""), "Content-Encoding", "gzip").problem(http.StatusBadRequest, "malformed")
	i.send(http.MethodPost, messages+"/"+first.ID.String()+"/cancel", gzipped(t, "{}"), "Content-Encoding", "gzip").message(http.StatusOK)
}

func TestOtherEncodingsAreRejectedByName(t *testing.T) {
	t.Parallel()
	i := start(t)
	for _, coding := range []string{"br", "deflate", "zstd", "gzip, gzip", "gzip, br"} {
		for _, kind := range []string{"application/json", lineType} {
			refused := i.send(http.MethodPost, batches, gzipped(t, hello), "Content-Encoding", coding, "Content-Type", kind)
			require.Contains(t, refused.problem(http.StatusUnsupportedMediaType, "unsupported_media_type").Detail, coding)
			require.Equal(t, "gzip, identity", refused.header.Get("Accept-Encoding"))
		}
	}
}

// The next request on the connection still gets its response.
func TestInvalidGzipIsRejected(t *testing.T) {
	t.Parallel()
	i := start(t)
	whole := gzipped(t, hello)
	head := strings.Replace(postHead, "\r\n", "\r\nContent-Encoding: gzip\r\n", 1)
	for name, body := range map[string]string{
		"plain":            hello,
		"cut off":          whole[:len(whole)-9],
		"a wrong sum":      whole[:len(whole)-8] + "12345678",
		"broken":           whole[:12] + "\xff\xff\xff" + whole[15:],
		"something behind": whole + strings.Repeat("x", 20_000),
	} {
		replies := exchange(t, i, head+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))+body+head+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(whole))+whole)
		require.Len(t, replies, 2, name)
		require.Contains(t, replies[0].problem(http.StatusBadRequest, "malformed").Detail, "gzip", name)
		require.Equal(t, http.StatusCreated, replies[1].status, name)
	}
	end := stream(t, i.send(http.MethodPost, batches, whole[:12]+"\xff\xff\xff"+whole[15:], "Content-Encoding", "gzip", "Content-Type", lineType))
	require.Contains(t, end[len(end)-1].Error.Detail, "gzip")
}

// A small body that decompresses to a very large one.
func TestADecompressionBombIsRejected(t *testing.T) {
	t.Parallel()
	i := start(t)
	const size = 64 << 20
	spaces, lines := gzipped(t, strings.Repeat(" ", size)), gzipped(t, hello+strings.Repeat("\n", size))
	endless := gzipped(t, hello+"\n"+strings.Repeat("x", size))
	require.Less(t, len(spaces)+len(lines)+len(endless), 300<<10)
	for _, path := range []string{messages, batches} {
		i.send(http.MethodPost, path, spaces, "Content-Encoding", "gzip").problem(http.StatusRequestEntityTooLarge, "too_large")
	}
	for _, body := range []string{lines, endless} {
		results := stream(t, i.send(http.MethodPost, batches, body, "Content-Encoding", "gzip", "Content-Type", lineType))
		require.Len(t, results, 2)
		require.NotNil(t, results[0].ID)
		require.Contains(t, results[1].Error.Detail, "unpacks to too much")
	}
	members := strings.Repeat(gzipped(t, ""), (17<<20)/len(gzipped(t, ""))) // decompresses to nothing
	i.send(http.MethodPost, messages, members, "Content-Encoding", "gzip").problem(http.StatusRequestEntityTooLarge, "too_large")
}

// Each flush of the client must be processed at once.
func TestACompressedStreamGetsResultsWhileItLasts(t *testing.T) {
	t.Parallel()
	i := start(t)
	body, sent := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.url+batches, body)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/jsonl")
	request.Header.Set("Content-Encoding", "gzip")
	w := gzip.NewWriter(sent)
	say := func() {
		_, _ = io.WriteString(w, hello+"\n") // an error shows in the response
		_ = w.Flush()
	}
	said := make(chan struct{})
	go func() {
		defer close(said)
		say()
	}()
	response, err := i.client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	results := bufio.NewReader(response.Body)
	for n := range 3 {
		text, err := results.ReadString('\n')
		require.NoError(t, err)
		var l lineResult
		require.NoError(t, json.Unmarshal([]byte(text), &l))
		require.Equal(t, n, *l.Index)
		require.NotNil(t, l.ID)
		<-said
		if n < 2 {
			say()
		}
	}
	require.NoError(t, w.Close())
	require.NoError(t, sent.Close())
	rest, err := io.ReadAll(results)
	require.NoError(t, err)
	require.Empty(t, string(rest))
}
