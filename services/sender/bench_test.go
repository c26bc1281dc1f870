package sender

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkAttempt is one attempt after another at a receiver on loopback,
// whose own work is in it.
func BenchmarkAttempt(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"messageId":"accepted"}`)) // the sender's trouble, if it fails
	}))
	defer server.Close()
	for name, secret := range map[string]string{"plain": "", "signed": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
		b.Run(name, func(b *testing.B) {
			w, err := newWebhook(Config{WebhookURL: server.URL, WebhookTimeout: 30 * time.Second, Concurrency: 8, WebhookSecret: secret})
			require.NoError(b, err)
			defer w.close()
			m := testMessage()
			b.ReportAllocs()
			for b.Loop() {
				require.Equal(b, succeeded, w.attempt(b.Context(), m, 1).verdict)
			}
		})
	}
}
