package sender

import (
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/sender/destination"
	"github.com/message-dispatcher/dispatch/services/sender/inflight"
	"github.com/message-dispatcher/dispatch/services/sender/transport/webhook"
)

// BenchmarkAttempt is one attempt after another to a receiver on loopback:
// sign, attempt and classify. The receiver's own work is included, also in the
// processor time.
func BenchmarkAttempt(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"messageId":"accepted"}`)) // a failure shows at the sender
	}))
	defer server.Close()
	for name, secret := range map[string]string{"plain": "", "signed": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
		b.Run(name, func(b *testing.B) {
			to, err := destination.New(destination.Settings{URL: server.URL, Timeout: 30 * time.Second, Secret: secret})
			require.NoError(b, err)
			client, err := webhook.NewClient(webhook.Options{MaxIdleConns: 8, Log: zap.NewNop()})
			require.NoError(b, err)
			defer client.Close()
			now := new(clock)
			stages := []stage{
				&signStage{to, now},
				&attemptStage{
					transport: client, clock: now, state: newConditions(zap.NewNop()),
					metrics: newMetrics(prometheus.NewRegistry(), "default", inflight.NewSet(1)),
				},
				&classifyStage{destination: to},
			}
			d := &delivery{
				Entry: inflight.NewSet(1).Add(&deliveries.Delivery{ID: message.NewID(time.Now())}),
				row:   message.Message{ID: message.NewID(time.Now()), To: "+905551111111", Content: "<ol\u00e1> & \"co\""},
			}
			b.ReportAllocs()
			began := processorTime(b)
			for b.Loop() {
				for _, s := range stages {
					s.run(b.Context(), d)
				}
				require.Equal(b, message.Delivered, d.result.Class)
			}
			b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
}

func processorTime(b *testing.B) int64 {
	b.Helper()
	var used syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return used.Utime.Nano() + used.Stime.Nano()
}
