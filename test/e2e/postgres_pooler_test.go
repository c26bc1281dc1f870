package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// TestTheWholePipelineRunsThroughAPooler migrates, provisions, takes messages
// from many callers at a time, retries, stops and starts. By transaction, all
// services together have two connections of the server.
func TestTheWholePipelineRunsThroughAPooler(t *testing.T) {
	t.Parallel()
	for mode, connections := range map[string]int{"transaction": 2, "session": 80} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			pooled := embeddedtest.PgBouncer(t, dbtest.EmptyURL(t), mode, fmt.Sprintf("default_pool_size = %d", connections))
			w := newPipeline(t, "DATABASE_URL", pooled)
			api := w.runAll()
			w.awaitControl()
			w.webhook.respondWith(failOnce)
			ids := postBatches(t, api, 8, 5)
			for _, id := range ids {
				require.Equal(t, 2, w.awaitStatus(id, message.Sent).Attempts)
			}
			w.webhook.respondWith(nil)

			overview, err := w.control("stop", "")
			require.NoError(t, err)
			require.Equal(t, message.StateStopped, overview.State)
			waiting := api.post(t, hello)
			require.Equal(t, message.Pending, api.get(t, waiting).Status)
			_, err = w.control("start", "")
			require.NoError(t, err)
			w.awaitStatus(waiting, message.Sent)

			later := api.post(t, fmt.Sprintf(`{"to":"+905551111111","content":"hello","deliverAt":%q}`, time.Now().Add(time.Hour).Format(time.RFC3339)))
			status, _, answer := api.request(t, http.MethodPost, "/api/v1/messages/"+later.String()+"/cancel", "")
			require.Equal(t, http.StatusOK, status, "%s", answer)
			status, _, answer = api.request(t, http.MethodGet, "/api/v1/messages?status=sent&status=cancelled&limit=100", "")
			require.Equal(t, http.StatusOK, status, "%s", answer)
			require.Equal(t, len(ids)+2, strings.Count(string(answer), `"id":`))
			status, _, answer = api.request(t, http.MethodGet, "/health/ready", "")
			require.Equal(t, http.StatusOK, status, "%s", answer)
		})
	}
}

// postBatches has callers post batches of two at the same time.
func postBatches(t *testing.T, api *runningService, callers, batches int) []message.ID {
	t.Helper()
	var mu sync.Mutex
	var ids []message.ID
	var all sync.WaitGroup
	body := "[" + strings.TrimSuffix(strings.Repeat(hello+",", 2), ",") + "]"
	for range callers {
		all.Go(func() {
			for range batches {
				status, _, answer := api.request(t, http.MethodPost, "/api/v1/messages/batch", body)
				var told struct{ Results []struct{ ID *message.ID } }
				if status != http.StatusOK || json.Unmarshal(answer, &told) != nil {
					t.Errorf("%d: %s", status, answer)
					return
				}
				mu.Lock()
				for _, r := range told.Results {
					if r.ID == nil {
						t.Errorf("%s", answer)
						continue
					}
					ids = append(ids, *r.ID)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return ids
}
