package db_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// The server of these does not wait for the disk: what they compare is the
// work, which a disk would hide.

func benchStore(b *testing.B) *db.Store {
	b.Helper()
	store := db.NewStore(dbtest.Pool(b))
	require.NoError(b, store.ProvisionSchedule(b.Context(), 0, 0))
	return store
}

// BenchmarkInsert stores groups of messages.
func BenchmarkInsert(b *testing.B) {
	for _, n := range []int{1, 16, 100} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			store := benchStore(b)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				group := drafts(n)
				b.StartTimer()
				_, _, err := store.Insert(b.Context(), group, box)
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkTick claims what is due, and ends the claim as its publisher does.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			store, floor := benchStore(b), &db.Watermark{}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				_, _, err := store.Insert(b.Context(), drafts(n), box)
				require.NoError(b, err)
				b.StartTimer()
				tick(b, store, n, floor)
			}
		})
	}
}

// BenchmarkRecord writes outcomes with their attempts, without and with the note
// that says how far in EVENTS they are.
func BenchmarkRecord(b *testing.B) {
	for _, n := range []int{1, 100} {
		for how, noted := range map[string]uint64{"": 0, "noted": 1} {
			b.Run(strconv.Itoa(n)+how, func(b *testing.B) {
				store, floor := benchStore(b), &db.Watermark{}
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					_, _, err := store.Insert(b.Context(), drafts(n), box)
					require.NoError(b, err)
					var outcomes []db.Outcome
					for _, m := range tick(b, store, n, floor) {
						outcomes = append(outcomes, outcome(m, message.Succeed, func(o *db.Outcome) { o.Event = noted }))
					}
					b.StartTimer()
					moved, err := store.RecordAfter(b.Context(), 0, outcomes, lease)
					require.NoError(b, err)
					require.Equal(b, n, moved)
				}
			})
		}
	}
}

// tick claims so many messages.
func tick(b *testing.B, store *db.Store, n int, floor *db.Watermark) []message.Message {
	b.Helper()
	params := tickParams(n)
	params.Watermark = floor
	done, err := store.Tick(b.Context(), params)
	require.NoError(b, err)
	require.Equal(b, n, done.Size())
	require.NoError(b, store.FinishClaim(b.Context(), done.OutboxID, n))
	return done.Fresh
}
