package crash_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/test/checker"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

func ingestScenarios() []scenario {
	list := []scenario{
		{point: failpoint.IngestReceived, work: one},
		{point: failpoint.IngestReceived, how: "over NATS", work: ask},
		{point: failpoint.IngestStored, work: one},
		{point: failpoint.IngestStored, how: "over NATS", work: ask},
		{point: failpoint.IngestStored, how: "in a batch of two transactions", work: many},
		{point: failpoint.IngestSplit, prepare: refusePoison, work: poisoned},
		{point: failpoint.IngestUnanswered, work: one},
		{point: failpoint.IngestUnanswered, how: "for a repeat", passing: ":2", work: repeated},
		{point: failpoint.IngestLinesStored, passing: ":2", work: stream},
		{point: failpoint.IngestPublishing, work: one},
		{point: failpoint.IngestPublished, work: one},

		{point: failpoint.IntakeFetched, work: published},
		{point: failpoint.IntakeStored, work: published},
		{point: failpoint.IntakePartAcked, passing: ":2", work: published},
		{point: failpoint.IntakePartAcked, how: "and the ack has arrived", passing: ":2+100ms", work: published},
		{point: failpoint.IntakeRejecting, work: rejected},
		{point: failpoint.IntakeRejected, work: rejected},
		{point: failpoint.PublishPartSent, how: "of a rejection", passing: "+50ms", work: rejected},
		{point: failpoint.PublishPartAcked, how: "of a rejection", work: rejected},

		{point: failpoint.CancelStored, work: cancelParked},
		{point: failpoint.CancelStored, how: "before it was emitted", work: cancelPending},
		{point: failpoint.CancelPurging, work: cancelParked},
		{point: failpoint.CancelPurged, work: cancelParked},
		{point: failpoint.RedriveStored, work: retryOne},
		{point: failpoint.RedriveBatchStored, work: retryAll},

		{point: failpoint.EraseIntake, redis: true, work: erases},
		{point: failpoint.EraseForgotten, redis: true, work: erases},
		{point: failpoint.EraseStored, redis: true, work: erases},
		{point: failpoint.EraseStored, how: "of a parked one", redis: true, work: erasesParked},
		{point: failpoint.EraseRewritten, redis: true, work: erases},
	}
	for n := range list {
		list[n].victim = "ingest"
	}
	return list
}

// ask stores a message with a request over NATS.
func ask(i *installation) {
	msg := nats.NewMsg(i.top.MessagesSubject("create"))
	name := key()
	msg.Header.Set(nats.MsgIdHdr, name)
	msg.Data = []byte(body("hello"))
	i.eventually("an answer", func() bool {
		answer, err := i.js.Conn().RequestMsg(msg, 5*time.Second)
		return err == nil && answer.Header.Get("Nats-Service-Error") == ""
	})
	i.promise(promise{key: name, status: message.Sent, calls: 1})
}

// many stores more than one transaction takes of one request.
func many(i *installation) {
	bodies := make([]string, 501)
	for n := range bodies {
		bodies[n] = body("hello")
	}
	i.batch(bodies...)
}

// refusePoison makes Postgres refuse one message, as a schema might that is
// being changed.
func refusePoison(i *installation) {
	i.exec("ALTER TABLE messages DROP CONSTRAINT IF EXISTS poison")
	i.exec("ALTER TABLE messages ADD CONSTRAINT poison CHECK (content <> 'poison')")
}

func poisoned(i *installation) { i.batch(body("a"), body("poison"), body("c"), body("d")) }

// repeated stores a message and asks for it once more.
func repeated(i *installation) {
	p := i.post(body("hello"))
	_, answer := i.client(http.MethodPost, "/api/v1/messages", "application/json", body("hello"), "Idempotency-Key", p.key)
	var again message.Message
	require.NoError(i.t, json.Unmarshal(answer, &again))
	require.Equal(i.t, p.id, again.ID)
}

// stream stores three lines, each sent when the one before is answered, all
// three once more when the stream breaks.
func stream(i *installation) {
	lines := make([]string, 3)
	names := make([]string, 3)
	for n := range lines {
		names[n] = key()
		lines[n] = body("hello", fmt.Sprintf(`"idempotencyKey":%q`, names[n])) + "\n"
	}
	var ids []message.ID
	i.eventually("a stream that is answered to its end", func() bool {
		if i.ingest.IsReady() { // one that is starting refuses a stream only when it has all of it
			ids = i.streamOnce(lines)
		}
		return len(ids) == len(lines)
	})
	for n, id := range ids {
		i.promise(promise{id: id, key: names[n], status: message.Sent, calls: 1})
	}
}

func (i *installation) streamOnce(lines []string) (ids []message.ID) {
	reader, writer := io.Pipe()
	defer writer.Close()
	request, err := http.NewRequestWithContext(i.t.Context(), http.MethodPost, i.ingest.URL+"/api/v1/messages/batch", reader)
	require.NoError(i.t, err)
	request.Header.Set("Content-Type", "application/x-ndjson")
	go func() { _, _ = io.WriteString(writer, lines[0]) }()
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil
	}
	defer response.Body.Close()
	answers := bufio.NewScanner(response.Body)
	for n := 1; answers.Scan(); n++ {
		var answer item
		if json.Unmarshal(answers.Bytes(), &answer) != nil || answer.Error != nil {
			return nil
		}
		ids = append(ids, answer.ID)
		if n == len(lines) {
			break
		}
		if _, err := io.WriteString(writer, lines[n]); err != nil {
			return nil
		}
	}
	return ids
}

// published puts messages on the intake stream.
func published(i *installation) {
	for range 4 {
		name := key()
		i.publish(name, body("hello"))
		i.promise(promise{key: name, status: message.Sent, calls: 1})
	}
}

func (i *installation) publish(name, text string) {
	_, err := i.js.Publish(i.t.Context(), i.top.IntakeSubject(message.DefaultDestination), []byte(text), natsjs.WithMsgID(name))
	require.NoError(i.t, err)
}

// rejected puts something on the intake stream that is no message.
func rejected(i *installation) {
	i.publish(key(), `{"to":"nobody"}`)
	i.rejected++
}

// cancelParked calls a message back that waits for its second attempt.
func cancelParked(i *installation) {
	i.webhook.RespondWith(func(c testenv.Call, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "25")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	p := i.post(body("hello"))
	i.await(p, message.Retrying)
	i.cancel(p)
}

func cancelPending(i *installation) {
	p := i.post(body("hello", inSeconds("deliverAt", 3600)))
	p.calls = 0
	i.cancel(p)
}

// cancel repeats a cancel until it is answered; 409 is the answer to one that
// had come through already.
func (i *installation) cancel(p *promise) {
	status, answer := i.client(http.MethodPost, "/api/v1/messages/"+p.id.String()+"/cancel", "", "")
	require.Contains(i.t, []int{http.StatusOK, http.StatusConflict}, status, "%s", answer)
	p.status, p.userRequests = message.Cancelled, []string{checker.Cancel}
}

// fails stores a message that the webhook refuses for good, once.
func fails(i *installation) *promise {
	i.webhook.RespondWith(func(c testenv.Call, w http.ResponseWriter, r *http.Request) {
		if c.Number == 1 {
			w.WriteHeader(http.StatusGone)
			return
		}
		testenv.Accept(c, w, r)
	})
	p := i.post(body("hello"))
	i.await(p, message.Failed)
	p.calls, p.userRequests = 2, []string{checker.Redrive}
	return p
}

func retryOne(i *installation) {
	p := fails(i)
	status, answer := i.client(http.MethodPost, "/api/v1/messages/"+p.id.String()+"/retry", "", "")
	require.Contains(i.t, []int{http.StatusOK, http.StatusConflict}, status, "%s", answer)
}

func retryAll(i *installation) {
	for range 3 {
		fails(i)
	}
	status, answer := i.client(http.MethodPost, "/api/v1/messages/retry", "application/json", `{"status":["FAILED"]}`)
	require.Equal(i.t, http.StatusOK, status, "%s", answer)
}

// erases has one message that was sent and one that waits, to the same
// recipient, and erases him.
func erases(i *installation) {
	i.webhook.RespondWith(nil)
	sent, waiting := i.post(body("hello")), i.post(body("hello", inSeconds("deliverAt", 3600)))
	waiting.calls = 0
	i.await(sent, message.Sent)
	i.copiedTo(sent, waiting)
	i.erase()
}

// erasesParked has one that waits for its second attempt.
func erasesParked(i *installation) {
	i.failing(1, "11")
	p := i.post(body("hello"))
	i.await(p, message.Retrying)
	i.copiedTo(p)
	i.erase()
}

// copiedTo waits until Redis has messages.
func (i *installation) copiedTo(promises ...*promise) {
	client, _ := i.copied()
	for _, p := range promises {
		i.eventually("Redis has "+p.String(), func() bool {
			n, err := client.Exists(i.t.Context(), i.env["PREFIX"]+":message:"+p.id.String()).Result()
			return err == nil && n == 1
		})
	}
}

// erase erases the recipient of everything, as often as it takes.
func (i *installation) erase() {
	status, answer := i.client(http.MethodDelete, "/api/v1/messages?to=%2B905551111111", "", "")
	require.Equal(i.t, http.StatusOK, status, "%s", answer)
	for _, p := range i.promises() {
		p.gone = true
	}
}
