package bench

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLatencyCountsFromTheTimetable has the load be held up: what it sends too
// late was due all the same.
func TestLatencyCountsFromTheTimetable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		times := &timetable{began: began, rate: 10, due: make([]time.Time, 40), sleep: time.Sleep}
		require.NoError(t, times.wait(t.Context(), 2, 1))
		require.Equal(t, 200*time.Millisecond, time.Since(began), "it waits for its turn")
		time.Sleep(3 * time.Second)
		require.NoError(t, times.wait(t.Context(), 3, 2))
		require.Equal(t, 3200*time.Millisecond, time.Since(began), "it does not wait when it is late")
		for i, at := range map[int]time.Duration{2: 200 * time.Millisecond, 3: 300 * time.Millisecond, 4: 300 * time.Millisecond} {
			require.Equal(t, began.Add(at), times.due[i])
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, times.wait(ctx, 39, 1), context.Canceled)
	})
}

// TestReceiverKeepsBooks counts what is repeated, and keeps the warm-up apart.
func TestReceiverKeepsBooks(t *testing.T) {
	t.Parallel()
	at := time.Unix(1000, 0)
	r := &receiver{failFirst: true}
	r.expect(portion{first: 100, count: 5}) // the warm-up
	require.False(t, r.note(104, nil, at))
	r.expect(portion{count: 2})
	require.True(t, r.note(104, nil, at), "the warm-up's retry")
	require.Zero(t, r.count())
	require.False(t, r.note(number([]byte(body(1))), []byte("one"), at), "each fails first")
	require.True(t, r.note(1, []byte("one"), at.Add(time.Second)))
	require.False(t, r.note(0, []byte("zero"), at))
	require.True(t, r.note(0, []byte("zero"), at.Add(2*time.Second)))
	require.Equal(t, 2, r.count())
	require.Equal(t, 1, r.repeated())
	require.True(t, r.note(1, []byte("one"), at.Add(3*time.Second)))
	require.Equal(t, 2, r.repeated())
	require.True(t, r.note(number([]byte(`{"content":"no order"}`)), nil, at))
	require.Equal(t, 3, r.repeated())
	require.Equal(t, at.Add(2*time.Second), r.last())
	require.Equal(t, map[string]time.Time{"one": at.Add(time.Second), "zero": at.Add(2 * time.Second)}, r.seconds())
	require.Equal(t, []time.Duration{time.Second, 2 * time.Second}, r.took([]time.Time{at.Add(-2 * time.Second), at.Add(-time.Second)}))
}
