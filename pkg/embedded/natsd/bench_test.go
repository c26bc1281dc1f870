package natsd_test

import (
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/natsd"
)

// BenchmarkPublish measures what it costs to sync each write to disk before it is
// acknowledged. The modes run one after another, so that they find the same machine.
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
			server, err := natsd.Start(natsd.Config{Listen: freeAddr, Dir: b.TempDir(), SyncAlways: mode.always})
			require.NoError(b, err)
			b.Cleanup(server.Stop)
			js := connect(b, server)
			_, err = js.CreateStream(b.Context(), natsjs.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}})
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

// BenchmarkLife measures what JetStream and its client alone cost per message when
// batches can be large: three events and an id are published and acknowledged; the
// id and the last event are delivered and acknowledged. Server and client share one
// process, so its CPU time is the whole cost.
func BenchmarkLife(b *testing.B) {
	const inFlight, event, id = 2000, 700, 80
	server, err := natsd.Start(natsd.Config{Listen: freeAddr, Dir: b.TempDir()})
	require.NoError(b, err)
	b.Cleanup(server.Stop)
	js := connect(b, server)
	consume := func(config natsjs.StreamConfig, filter string) (done <-chan struct{}) {
		stream, err := js.CreateStream(b.Context(), config)
		require.NoError(b, err)
		consumer, err := stream.CreateConsumer(b.Context(), natsjs.ConsumerConfig{
			FilterSubject: filter, AckPolicy: natsjs.AckExplicitPolicy, MaxAckPending: inFlight,
		})
		require.NoError(b, err)
		all, left := make(chan struct{}), b.N // handlers of one consumer run one after another
		consuming, err := consumer.Consume(func(msg natsjs.Msg) {
			if err := msg.Ack(); err != nil {
				b.Error(err)
			}
			if left--; left == 0 {
				close(all)
			}
		})
		require.NoError(b, err)
		b.Cleanup(consuming.Stop)
		return all
	}
	delivered := consume(natsjs.StreamConfig{
		Name: "DELIVERIES", Subjects: []string{"deliver.*"}, Retention: natsjs.WorkQueuePolicy, MaxMsgsPerSubject: 1,
	}, "deliver.*")
	recorded := consume(natsjs.StreamConfig{Name: "EVENTS", Subjects: []string{"events.*"}, Duplicates: 5 * time.Second}, "events.sent")
	publish := func(subject string, n, size int) {
		_, err := js.PublishAsync(subject, make([]byte, size),
			natsjs.WithMsgID(subject+strconv.Itoa(n)), natsjs.WithStallWait(time.Minute))
		require.NoError(b, err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := processorTime(b)
	for n := range b.N {
		publish("events.created", n, event)
		publish("deliver."+strconv.Itoa(n), n, id)
		publish("events.queued", n, event)
		publish("events.sent", n, event)
	}
	<-js.PublishAsyncComplete()
	<-delivered
	<-recorded
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "processor-µs/op")
}

// processorTime returns the CPU time that this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
