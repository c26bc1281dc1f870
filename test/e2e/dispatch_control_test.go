package e2e_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/jetstream/rpc"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// control sends a control request and returns what a dispatcher answers.
func (w *pipeline) control(verb, body string) (message.Overview, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), waitTimeout)
	defer cancel()
	answer, err := rpc.Request(ctx, w.js.Conn(), w.topology.ControlSubject(verb), []byte(body))
	if err != nil {
		return message.Overview{}, err
	}
	var overview message.Overview
	require.NoError(w.t, json.Unmarshal(answer, &overview))
	return overview, nil
}

// awaitControl waits until a dispatcher answers.
func (w *pipeline) awaitControl() {
	w.t.Helper()
	testenv.Eventually(w.t, func() bool {
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		_, err := rpc.Request(ctx, w.js.Conn(), w.topology.ControlSubject("status"), nil)
		return err == nil
	})
}

func TestStopAnswersOnceNothingIsLeftToEmit(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.insert(draft())
	tick := w.leaveUnpublished()
	w.runDispatcher()
	w.runDispatcher()
	w.awaitControl()

	overview, err := w.control("stop", "")

	require.NoError(t, err)
	require.Equal(t, message.StateStopped, overview.State)
	require.True(t, *overview.Changed)
	emitted := w.deliveries().State
	require.EqualValues(t, 1, emitted.Msgs, "what was claimed before is emitted")
	require.Equal(t, 1, tick.Size())
	w.insert(drafts(5)...)
	require.Never(t, func() bool { return w.deliveries().State.LastSeq > emitted.LastSeq }, 2*moment, 10*time.Millisecond)

	overview, err = w.control("stop", "")
	require.NoError(t, err)
	require.False(t, *overview.Changed)
	overview, err = w.control("start", "")
	require.NoError(t, err)
	require.True(t, *overview.Changed)
	require.Equal(t, message.StateRunning, overview.State)
	w.awaitDeliveries(6)
}

func TestAStopThatCantPublishSaysSo(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	w.insert(draft())
	w.leaveUnpublished()
	w.sql("UPDATE outbox SET batch = '\\x00' WHERE is_claim")
	w.runDispatcher()
	w.awaitControl()

	_, err := w.control("stop", "")

	refused := requireRefusal(t, err, 503)
	require.Equal(t, "claim_unpublished", refused.Code)
	pace, err := w.store.Pace(t.Context())
	require.NoError(t, err)
	require.False(t, pace.Running, "it is stopped all the same")
}

func requireRefusal(t *testing.T, err error, status int) *message.Problem {
	t.Helper()
	var refused *message.Problem
	require.ErrorAs(t, err, &refused)
	require.Equal(t, status, refused.Status)
	return refused
}

func TestThePaceIsConfiguredOverNATS(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "PROCESSING_INTERVAL", "1h")
	w.insert(drafts(2)...)
	for range 3 {
		w.runDispatcher()
	}
	w.awaitControl()
	w.awaitDeliveries(2) // the first tick
	w.insert(drafts(4)...)

	overview, err := w.control("configure", `{"interval":"500ms","batchSize":1}`)
	require.NoError(t, err)
	require.Equal(t, message.Duration(500*time.Millisecond), overview.Interval)
	require.Equal(t, 1, overview.BatchSize)
	changed := time.Now()
	w.awaitDeliveries(3)
	require.Less(t, time.Since(changed), 5*time.Second, "sleepers notice")

	_, err = w.control("configure", `{"interval":"soon","batchSize":0}`)
	require.Contains(t, string(requireRefusal(t, err, 422).JSON()), `"field":"batchSize"`)
	_, err = w.control("configure", `no`)
	require.Contains(t, string(requireRefusal(t, err, 400).JSON()), `"code":"malformed"`)

	testenv.Eventually(t, func() bool {
		overview, err = w.control("status", "")
		return err == nil && len(overview.Instances) == 3
	}, "all three are known")
	require.Nil(t, overview.Changed)
	require.Equal(t, "dispatcher", overview.Instances[0].Service)
}
