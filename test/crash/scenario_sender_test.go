package crash_test

import (
	"bytes"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

func senderScenarios() []scenario {
	few := map[string]string{"SENDER_CONCURRENCY": "2"}
	list := []scenario{
		{point: failpoint.SenderPublished, how: "of a long wait", work: parks},
		{point: failpoint.SenderScheduled, work: parks},
		{point: failpoint.SenderEnded, how: "of a long wait", work: parks},
		{point: failpoint.SenderDropping, how: "when the retry is parked for a sender that died before", before: []failpoint.Point{failpoint.SenderPublished}, work: parksLong},
		{point: failpoint.SenderPulled, work: four},
		{point: failpoint.SenderLoaded, work: four},
		{point: failpoint.SenderPosting, work: one},
		{point: failpoint.SenderResponding, repeats: doubles{1, 1}, work: one},
		{point: failpoint.SenderPosted, repeats: doubles{1, 1}, work: one},
		{point: failpoint.SenderPublishFailed, ownNATS: true, repeats: doubles{1, 1}, work: loseNATS, between: natsBack},
		{point: failpoint.SenderExpired, settings: map[string]string{"SENDER_CONCURRENCY": "1"}, work: expiresInHand},
		{point: failpoint.SenderPublished, work: one},
		{point: failpoint.SenderPublished, how: "while nobody records", work: unrecorded},
		{point: failpoint.SenderPublished, how: "of a short wait", work: naks},
		{point: failpoint.SenderEnded, work: one},
		{point: failpoint.SenderEnded, how: "and the ack has arrived", passing: "+100ms", work: one},
		{point: failpoint.SenderEnded, how: "of a short wait", work: naks},
		{point: failpoint.SenderEnded, how: "of a short wait, and the nak has arrived", passing: "+100ms", work: naks},
		{point: failpoint.SenderDropping, before: []failpoint.Point{failpoint.SenderPublished}, work: one},
		{point: failpoint.SenderDraining, settings: few, repeats: doubles{0, 2}, work: terminates},
		{point: failpoint.SenderReturned, settings: few, repeats: doubles{0, 2}, work: terminates},
		{point: failpoint.SenderDrained, settings: few, work: terminates},
	}
	for n := range list {
		list[n].victim = "sender"
	}
	return list
}

// loseNATS kills NATS while the webhook works.
func loseNATS(i *installation) {
	times := i.times
	i.webhook.RespondWith(func(c testenv.Call, w http.ResponseWriter, r *http.Request) {
		if c.Number <= times {
			i.nats.Kill()
		}
		testenv.Accept(c, w, r)
	})
	i.post(body("hello"))
}

func natsBack(i *installation) {
	if err := i.nats.TryStart(); err != nil {
		i.t.Error(err)
	}
}

// expiresInHand has a message wait behind a slow one until its time is over.
func expiresInHand(i *installation) {
	i.webhook.RespondWith(func(c testenv.Call, w http.ResponseWriter, r *http.Request) {
		if bytes.Contains(c.Body, []byte("slow")) {
			testenv.Slowly(3*time.Second)(c, w, r)
			return
		}
		testenv.Accept(c, w, r)
	})
	i.post(body("slow"))
	i.eventually("the slow one is being sent", func() bool { return len(i.webhook.Received("")) > 0 })
	p := i.post(body("hello", inSeconds("expiresAt", 2)))
	p.status, p.calls = message.Expired, 0
}

// unrecorded has the id delivered again before its outcome is recorded.
func unrecorded(i *installation) {
	i.dispatcher.Start()
	var once sync.Once
	killed := make(chan struct{})
	i.webhook.RespondWith(func(c testenv.Call, w http.ResponseWriter, r *http.Request) {
		once.Do(func() {
			i.dispatcher.Kill()
			close(killed)
		})
		testenv.Accept(c, w, r)
	})
	i.post(body("hello"))
	<-killed
	before := i.delivered()
	i.eventually("the id is delivered again", func() bool { return i.delivered() > before })
	i.dispatcher.Start()
}

// delivered counts deliveries of ids to senders.
func (i *installation) delivered() uint64 {
	consumer, err := i.js.Consumer(i.t.Context(), i.top.DeliveriesStream(), i.top.SenderConsumer(message.DefaultDestination))
	require.NoError(i.t, err)
	return consumer.CachedInfo().Delivered.Consumer
}

// terminates asks the sender to end while it has requests in flight and ids
// that are not begun.
func terminates(i *installation) {
	i.webhook.RespondWith(testenv.Slowly(time.Second))
	six := append(body4(), body("e"), body("f"))
	i.batch(six...)
	i.eventually("the hand is full", func() bool {
		consumer, err := i.js.Consumer(i.t.Context(), i.top.DeliveriesStream(), i.top.SenderConsumer(message.DefaultDestination))
		return err == nil && consumer.CachedInfo().NumAckPending == 4
	})
	require.NoError(i.t, syscall.Kill(i.sender.Pid(), syscall.SIGTERM))
}
