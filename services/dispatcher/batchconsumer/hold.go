package batchconsumer

import (
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// heartbeatEvery is the time between two heartbeats. The consumers' ack wait is
// much longer.
const heartbeatEvery = 4 * time.Second

// Hold sends heartbeats for a batch, so that the server does not redeliver it,
// until release is called. release waits for the last heartbeat.
func Hold(batch []natsjs.Msg) (release func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticks := time.NewTicker(heartbeatEvery)
		defer ticks.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticks.C:
			}
			for _, msg := range batch {
				_ = msg.InProgress() // if it fails, the message comes again, which is harmless
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// Ack acknowledges a processed message. If the ack is lost, the message comes
// again and changes nothing.
func Ack(msg natsjs.Msg) { _ = msg.Ack() }
