package e2e_test

import (
	"context"
	"fmt"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
)

// TestAWalkGoesOnWhereTheLastOneEnded: a stream that can't be walked within
// one deadline is walked within several, and nothing is looked at twice or
// passed over.
func TestAWalkGoesOnWhereTheLastOneEnded(t *testing.T) {
	t.Parallel()
	w := newUnprovisioned(t)
	const name, subject = "LONG", "long"
	made := func() {
		_, err := w.js.CreateStream(t.Context(), natsjs.StreamConfig{Name: name, Subjects: []string{subject}})
		require.NoError(t, err)
	}
	made()
	const entries, within = 1000, 300
	for n := range entries {
		_, err := w.js.PublishAsync(subject, fmt.Appendf(nil, "%d", n))
		require.NoError(t, err)
	}
	<-w.js.PublishAsyncComplete()
	stream, err := w.js.Stream(t.Context(), name)
	require.NoError(t, err)
	for sequence := uint64(401); sequence <= 600; sequence++ { // taken out before: a gap of pages
		require.NoError(t, stream.DeleteMsg(t.Context(), sequence))
	}

	var seen []string
	var walked streams.SearchResult
	calls := 0
	for ; ; calls++ {
		ctx, cancel := context.WithCancel(t.Context())
		left := within
		walked, err = streams.Erase(ctx, w.js, streams.Search{Stream: name, From: walked.Next, Matches: func(h streams.StoredMessage) bool {
			seen = append(seen, string(h.Data))
			if left--; left == 0 {
				cancel()
			}
			return string(h.Data) == "999"
		}})
		cancel()
		if err == nil {
			break
		}
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, walked.Matched)
	}

	require.Equal(t, 1, walked.Matched)
	require.Equal(t, (entries-200)/within, calls)
	var want []string
	for n := range entries {
		if n < 400 || n >= 600 {
			want = append(want, fmt.Sprint(n))
		}
	}
	require.Equal(t, want, seen)
	require.Len(t, w.contents(name), entries-200-1)

	// A stream that was created again is walked from its beginning.
	require.NoError(t, w.js.DeleteStream(t.Context(), name))
	made()
	_, err = w.js.Publish(t.Context(), subject, []byte("new"))
	require.NoError(t, err)
	walked, err = streams.Erase(t.Context(), w.js, streams.Search{Stream: name, From: walked.Next, Matches: func(streams.StoredMessage) bool { return true }})
	require.NoError(t, err)
	require.Equal(t, streams.SearchResult{Matched: 1, Next: 2}, walked)
}
