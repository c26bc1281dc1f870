package bench

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Loads are all that can be asked for.
var Loads = []string{LoadSingle, LoadBatch, LoadNDJSON, LoadNATS}

// How messages are put in.
const (
	LoadSingle = "single" // one POST a message
	LoadBatch  = "batch"  // POSTs of BatchSize messages
	LoadNDJSON = "ndjson" // streams of 10 × BatchSize lines
	LoadNATS   = "nats"   // published to the intake stream
)

// beforeNumber is what stands before a message's number in its text.
const beforeNumber = "Order "

// text makes content of about the size of a short message; its number makes
// every one different.
func text(n int) string {
	return fmt.Sprintf(beforeNumber+"%08d is on its way: it will be with you tomorrow between nine and twelve. Track it at https://example.com/t/%08d", n, n)
}

func body(n int) string {
	return fmt.Sprintf(`{"to":"+905551111111","content":%q,"metadata":{"order":"%d"}}`, text(n), n)
}

// portion is some messages by their numbers.
type portion struct{ first, count int }

func (p portion) items() []string {
	items := make([]string, p.count)
	for i := range items {
		items[i] = body(p.first + i)
	}
	return items
}

// timerLateness is how late a timer of Go's fires, at most, in a process that
// has nothing else to do: it waits in whole milliseconds then. What is to be
// measured is not much longer.
const timerLateness = 2 * time.Millisecond

// timetable says when each message is to be sent.
type timetable struct {
	began time.Time
	rate  int         // messages a second; 0: each as soon as somebody is free
	due   []time.Time // what was said
	sleep func(time.Duration)
}

// wait waits until the message at an index is to be sent, and notes for it and
// those that go with it when that was. With a rate this is its place in the
// timetable, however late the load is for it.
func (t *timetable) wait(ctx context.Context, at, count int) error {
	due := time.Now()
	if t.rate > 0 {
		due = t.began.Add(time.Duration(at) * time.Second / time.Duration(t.rate))
		select {
		case <-time.After(time.Until(due) - timerLateness):
			t.sleep(time.Until(due))
		case <-ctx.Done():
		}
	}
	for i := at; i < at+count; i++ {
		t.due[i] = due
	}
	return ctx.Err()
}

// load puts all messages in, and notes in due when each was to be sent.
func (r *run) load(ctx context.Context, all portion, rate int, due []time.Time) error {
	times := &timetable{began: time.Now(), rate: rate, due: due, sleep: sleep}
	if r.options.Load == LoadNATS {
		return r.publish(ctx, all, times)
	}
	var next atomic.Int64
	step := r.options.step()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var workers sync.WaitGroup
	for range r.options.Connections {
		workers.Go(func() {
			client := newClient(r.api)
			defer client.CloseIdleConnections()
			for {
				at := int(next.Add(int64(step))) - step
				if at >= all.count {
					return
				}
				p := portion{all.first + at, min(step, all.count-at)}
				if times.wait(ctx, at, p.count) != nil {
					return
				}
				if err := r.put(client, p); err != nil {
					fail(err)
					return
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// step is how many messages a request of the load has.
func (o Options) step() int {
	switch o.Load {
	case LoadBatch:
		return o.BatchSize
	case LoadNDJSON:
		return 10 * o.BatchSize
	}
	return 1
}

// put makes one request, and makes sure that all of it was accepted.
func (r *run) put(client client, p portion) error {
	to, marker := call{"/api/v1/messages", body(p.first), contentJSON}, ""
	switch r.options.Load {
	case LoadBatch:
		to = call{"/api/v1/messages/batch", "[" + strings.Join(p.items(), ",") + "]", contentJSON}
		marker = `"id":`
	case LoadNDJSON:
		to = call{"/api/v1/messages/batch", strings.Join(p.items(), "\n"), contentLines}
		marker = `"id":`
	}
	answer, err := client.post(to)
	if err != nil {
		return err
	}
	if marker == "" {
		return nil // a 201
	}
	if n := strings.Count(string(answer), marker); n != p.count {
		return fmt.Errorf("%d of %d messages were accepted: %.500s", n, p.count, answer)
	}
	return nil
}

// publish puts messages into the intake stream.
func (r *run) publish(ctx context.Context, all portion, times *timetable) error {
	js, err := r.bench.connect(r.topology)
	if err != nil {
		return err
	}
	defer js.Close()
	subject := r.topology.IntakeSubject(message.DefaultDestination)
	acks := make([]natsjs.PubAckFuture, all.count)
	for i := range acks {
		if err := times.wait(ctx, i, 1); err != nil {
			return err
		}
		if acks[i], err = js.PublishAsync(subject, []byte(body(all.first+i)), natsjs.WithStallWait(answerLimit)); err != nil {
			return fmt.Errorf("publish intake: %w", err)
		}
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return fmt.Errorf("publish intake: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
