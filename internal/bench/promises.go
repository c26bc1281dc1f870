package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// promises reads, after a run, when each message that failed once was said to
// be tried again. Events tell it, and keep it, so that nobody need listen
// while the run goes on.
func (r *run) promises(ctx context.Context) (map[string]time.Time, error) {
	js, err := r.bench.connect(r.topology)
	if err != nil {
		return nil, err
	}
	defer js.Close()
	consumer, err := js.OrderedConsumer(ctx, r.topology.EventsStream(), natsjs.OrderedConsumerConfig{
		FilterSubjects: []string{r.topology.EventSubjects(message.EventAttempted)},
	})
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	promised := make(map[string]time.Time, info.NumPending)
	for left := int(info.NumPending); left > 0; {
		batch, err := consumer.Fetch(min(left, 1000), natsjs.FetchMaxWait(answerLimit))
		if err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
		got := 0
		for msg := range batch.Messages() {
			got++
			var event events.Event
			if err := json.Unmarshal(msg.Data(), &event); err != nil {
				return nil, fmt.Errorf("read event: %w", err)
			}
			if event.Data.NextAttemptAt != nil && event.Data.Attempts == 1 {
				promised[event.Data.ID.String()] = *event.Data.NextAttemptAt
			}
		}
		if got == 0 {
			return nil, fmt.Errorf("read events: %d do not come: %w", left, batch.Error())
		}
		left -= got
	}
	return promised, nil
}
