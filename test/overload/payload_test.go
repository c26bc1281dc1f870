package overload_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// largest is a payload of 256 KiB that can't be packed.
func largest() string {
	noise := make([]byte, 128<<10-1)
	_, _ = rand.Read(noise)
	return `"` + hex.EncodeToString(noise) + `"`
}

// Every message carries the largest payload, every event tells it, more requests
// may be open than there is memory for their payloads, and clients hand in
// batches and read lists side by side: bytes are bounded wherever messages are
// counted, so no service grows.
func TestTheLargestPayloadsTakeLittleMemory(t *testing.T) {
	t.Parallel()
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	i := install(t, testenv.Options{Redis: true, Settings: map[string]string{"EVENT_CONTENT": "full", "SENDER_CONCURRENCY": "2048"}})
	i.Webhook.RespondWith(testenv.Slowly(500 * time.Millisecond))
	i.Start()
	payload := largest()
	line := func(key string) string {
		return fmt.Sprintf(`{"to":"+905551111111","payload":%s,"idempotencyKey":%q}`, payload, key)
	}
	const clients, each = 4, 40
	var handing sync.WaitGroup
	for client := range clients {
		handing.Go(func() {
			for round := range rounds {
				lines := make([]string, each)
				for n := range lines {
					lines[n] = line(fmt.Sprintf("%d-%d-%d", client, round, n))
				}
				if client%2 == 0 {
					i.handInAll("application/json", "["+strings.Join(lines, ",")+"]")
				} else {
					i.handInAll("application/x-ndjson", strings.Join(lines, "\n"))
				}
				_, err := i.js.Publish(t.Context(), "dispatch.intake.default", []byte(line(fmt.Sprintf("%d-%d-nats", client, round))))
				require.NoError(t, err)
			}
		})
	}
	done := make(chan struct{})
	var reading sync.WaitGroup
	for range clients {
		reading.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				code, _, err := ask(i.ingest(), "/api/v1/messages?limit=100")
				if err == nil && code != http.StatusOK && code != http.StatusTooManyRequests && code != http.StatusServiceUnavailable {
					t.Errorf("a list is answered with %d", code)
				}
			}
		})
	}
	handing.Wait()
	total := clients * rounds * (each + 1)
	i.eventually("all are sent", func() bool { return i.count("SELECT count(*) FROM messages WHERE status = 'SENT'") == total })
	close(done)
	reading.Wait()
	i.requireMemory(maxMemory, i.Services()...)
}

// handInAll hands in messages until all of them are taken.
func (i *installation) handInAll(kind, text string) {
	for deadline := time.Now().Add(testenv.WaitTimeout); time.Now().Before(deadline); {
		response, err := client.Post(i.ingest().URL+"/api/v1/messages/batch", kind, strings.NewReader(text))
		if err != nil {
			continue
		}
		answer, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err == nil && response.StatusCode == http.StatusOK && !strings.Contains(string(answer), `"error"`) {
			return
		}
	}
	i.t.Errorf("%s is never taken", kind)
}
