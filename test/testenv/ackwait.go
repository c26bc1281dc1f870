package testenv

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// AckWait is how long NATS waits in a test for a sender that was killed: a few
// of the webhook's timeouts, in place of a minute and a half.
func AckWait(webhookTimeout time.Duration) time.Duration {
	return max(3*webhookTimeout, 15*time.Second)
}

// ShortenAckWait gives the senders' consumer the wait of a test. It belongs
// between the provisioning and the start of the senders, which ask for it.
func ShortenAckWait(t testing.TB, natsURL, prefix string, wait time.Duration) {
	t.Helper()
	nc, err := nats.Connect(natsURL)
	if err != nil {
		t.Fatalf("shorten ack wait: %v", err)
	}
	defer nc.Close()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatalf("shorten ack wait: %v", err)
	}
	if prefix == "" {
		prefix = "dispatch"
	}
	stream := strings.ToUpper(prefix) + "_DELIVERIES"
	consumer, err := js.Consumer(t.Context(), stream, "sender-default")
	if err != nil {
		t.Fatalf("shorten ack wait: %v", err)
	}
	config := consumer.CachedInfo().Config
	config.AckWait = min(config.AckWait, wait)
	if _, err := js.UpdateConsumer(t.Context(), stream, config); err != nil {
		t.Fatalf("shorten ack wait: %v", err)
	}
}
