package e2e_test

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// A stream that is lost takes everything that was emitted or parked with it.
// One sweep finds all of it, so that only the pace says how fast it goes out.
func TestOneSweepFindsMoreThanABatchOfLostMessages(t *testing.T) {
	t.Parallel()
	const batch = 500                   // of a sweep
	w := newPipeline(t, "LEASE", "20s") // a sweep every second or two
	list := drafts(1200)
	w.insert(list...)
	w.sql(`UPDATE messages SET status = 'RETRYING', claim_number = 2, attempts = 1, queued_at = now() - interval '2 hours', lease_until = now() - interval '1 hour'`)
	_, err := w.store.SetRunning(t.Context(), false)
	require.NoError(t, err)
	addr := freeAddr(t)
	w.runDispatcher("HEALTH_ADDR", addr)

	// Each sweep finds them all again. On a slow machine a sweep may run out of
	// time before its last batch, and the next one begins from the start.
	found := regexp.MustCompile(`dispatch_dispatcher_expired_leases_total\{found="lost"\} (\d+)\n`)
	testenv.EventuallyWithin(t, 5*testenv.WaitTimeout, func() bool {
		response, err := http.Get("http://" + addr + "/metrics")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		count := found.FindSubmatch(text)
		if err != nil || count == nil {
			return false
		}
		lost, err := strconv.Atoi(string(count[1]))
		return err == nil && lost%batch != 0
	}, "no sweep comes to the last batch, which is smaller")

	_, err = w.store.SetRunning(t.Context(), true)
	require.NoError(t, err)
	w.awaitDeliveries(1200)
	overview, err := w.store.Overview(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1200, overview.Counts[message.Retrying])
}
