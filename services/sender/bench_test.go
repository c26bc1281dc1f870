package sender

import (
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// BenchmarkAttempt is one attempt after another at a receiver on loopback,
// whose own work is in it, also in the processor time. The two roads differ by
// what they cost.
func BenchmarkAttempt(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"messageId":"accepted"}`)) // the sender's trouble, if it fails
	}))
	defer server.Close()
	for _, c := range []struct{ name, secret string }{
		{name: "plain"}, {name: "signed", secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, {name: "by net/http"},
	} {
		b.Run(c.name, func(b *testing.B) {
			w, err := newWebhook(Config{WebhookURL: server.URL, WebhookTimeout: 30 * time.Second, Concurrency: 8, WebhookSecret: c.secret}, zap.NewNop())
			require.NoError(b, err)
			defer w.close()
			if c.name == "by net/http" {
				w.transport = directOf(w).large
			}
			m := testMessage()
			b.ReportAllocs()
			began := processorTime(b)
			for b.Loop() {
				require.Equal(b, succeeded, w.attempt(b.Context(), m, 1).verdict)
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
