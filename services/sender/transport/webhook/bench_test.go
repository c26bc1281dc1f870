package webhook

import (
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkSend is one attempt after another to a receiver on loopback. The
// receiver's own work is included, also in the processor time. The paths differ
// by what they cost.
func BenchmarkSend(b *testing.B) {
	for _, c := range []struct {
		name             string
		secure, standard bool
	}{{"http1", false, false}, {"net/http", false, true}, {"http1 with TLS", true, false}, {"net/http with TLS", true, true}} {
		b.Run(c.name, func(b *testing.B) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"messageId":"accepted"}`)) // a failure shows at the sender
			}))
			if c.secure {
				server.TLS, _ = certificate()
				server.TLS = server.TLS.Clone()
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			to := newTarget(b, server.URL, trusting)
			if c.standard {
				to.useStandard()
			}
			b.ReportAllocs()
			began := processorTime(b)
			for b.Loop() {
				require.True(b, to.send(b.Context()).delivered())
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
