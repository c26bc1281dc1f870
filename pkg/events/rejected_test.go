package events_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
)

func rejection() events.Rejection {
	return events.Rejection{
		Subject: "dispatch.intake.default", Sequence: 7, Stored: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Headers: map[string][]string{"X-Own": {"a", "b"}, "Nats-Msg-Id": {"shop-1"}, "Nats-Expected-Stream": {"DISPATCH_INTAKE"}, "nats-ttl": {"1s"}},
		Data:    []byte("no JSON"), Code: "malformed", Problem: json.RawMessage(`{"code":"malformed"}`),
	}
}

func TestARejectionKeepsWhatCame(t *testing.T) {
	t.Parallel()
	builder := events.NewEventBuilder(events.NewTopology("dispatch", 1), false)
	entries := builder.Rejection(rejection(), 1<<20)
	require.Len(t, entries, 2)
	kept := entries[0]
	require.Equal(t, "dispatch.rejected.default", kept.Subject)
	require.Equal(t, "no JSON", string(kept.Data))
	require.Equal(t, map[string]string{
		"X-Own": "a, b", events.HeaderRejectedMsgID: "shop-1", events.HeaderRejectedSubject: "dispatch.intake.default",
		events.HeaderProblemCode: "malformed", events.HeaderProblem: `{"code":"malformed"}`,
	}, kept.Headers, "what orders JetStream about is not repeated")
	require.Equal(t, entries, builder.Rejection(rejection(), 1<<20), "a repeat is the same message")

	other := rejection()
	other.Stored = other.Stored.Add(time.Second)
	require.NotEqual(t, kept.MsgID, builder.Rejection(other, 1<<20)[0].MsgID, "a stream made anew counts from 1 again")
}

func TestARejectionFitsAlways(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	builder := events.NewEventBuilder(events.NewTopology("dispatch", 1), false)
	noise := make([]byte, limit)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for name, data := range map[string][]byte{"fits": noise[:limit/2], "is compressed": bytes.Repeat([]byte("x"), limit), "is cut": noise} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rejection()
			r.Data = data
			kept := builder.Rejection(r, limit)[0]
			size := len(kept.Data)
			for name, value := range kept.Headers {
				size += len(name) + len(value) + 4
			}
			require.LessOrEqual(t, size, limit)
			switch name {
			case "is compressed":
				reader, err := gzip.NewReader(bytes.NewReader(kept.Data))
				require.NoError(t, err)
				plain, err := io.ReadAll(reader)
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, plain))
			case "is cut":
				require.Equal(t, strconv.Itoa(limit), kept.Headers[events.HeaderTruncated])
				require.True(t, bytes.HasPrefix(data, kept.Data))
				require.Greater(t, len(kept.Data), limit-1000)
			default:
				require.True(t, bytes.Equal(data, kept.Data))
			}
		})
	}
	r := rejection()
	r.Problem = json.RawMessage(`"` + strings.Repeat("x", limit) + `"`)
	require.NotContains(t, builder.Rejection(r, limit)[0].Headers, events.HeaderProblem)
}

func TestARejectionFitsBesideTheLongestHeaders(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{64 << 10, 1 << 20} {
		r := rejection()
		r.Headers = map[string][]string{"X-Long": {strings.Repeat("x", 60<<10)}, "X-More": {"more"}}
		r.Problem = json.RawMessage(`"` + strings.Repeat("y", 10<<10) + `"`)
		kept := events.NewEventBuilder(events.NewTopology("dispatch", 1), false).Rejection(r, int64(limit))[0]

		size := 0
		for name, value := range kept.Headers {
			size += len(name) + len(value) + 4
		}
		require.Less(t, size, 64<<10, "more JetStream does not take")
		require.Less(t, size+len(kept.Data), limit)
		require.Equal(t, r.Code, kept.Headers[events.HeaderProblemCode])
		require.Equal(t, r.Subject, kept.Headers[events.HeaderRejectedSubject])
		require.Equal(t, string(r.Problem), kept.Headers[events.HeaderProblem])
		require.NotContains(t, kept.Headers, "X-Long")
		require.Equal(t, "2", kept.Headers[events.HeaderHeadersOmitted])
	}
}
