package natsd_test

import (
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/local/natsd"
)

// BenchmarkPublish is what an acknowledgement costs that is synced to disk.
// Both servers are asked in turn, so that they find the same machine.
func BenchmarkPublish(b *testing.B) {
	body := make([]byte, 250)
	for _, mode := range []struct {
		name    string
		workers int
		always  bool
	}{
		{"one at a time/sync_interval=1s", 1, false},
		{"one at a time/sync_interval=always", 1, true},
		{"64 at a time/sync_interval=1s", 64, false},
		{"64 at a time/sync_interval=always", 64, true},
	} {
		b.Run(mode.name, func(b *testing.B) {
			server, err := natsd.Start(natsd.Config{Listen: free, Dir: b.TempDir(), SyncAlways: mode.always})
			require.NoError(b, err)
			b.Cleanup(server.Stop)
			js := connect(b, server)
			_, err = js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}})
			require.NoError(b, err)
			b.ResetTimer()
			var workers sync.WaitGroup
			for w := range mode.workers {
				workers.Go(func() {
					for n := w; n < b.N; n += mode.workers {
						if _, err := js.Publish(b.Context(), "kept", body); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			workers.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publishes/s")
		})
	}
}
