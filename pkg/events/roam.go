package events

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	roamEvery = 2 * time.Second // between two questions
	roamWait  = 2 * time.Second // for an answer
	// roamAfter is how long a server may know no leader: longer than an election,
	// which takes 5 to 9 s, and in which no other server knows one either.
	roamAfter = 12 * time.Second
	// noLeader is the server's error code for that.
	noLeader = 10008
)

// Roamer moves a connection to another server of the cluster when the one that
// it has is cut off from the others. That one answers its clients' pings, so
// that they would stay with it, but does nothing that takes a majority.
type Roamer struct {
	js       jetstream.JetStream
	topology Topology
	moved    func(from string)
}

// NewRoamer returns a Roamer that says which server it left.
func NewRoamer(js jetstream.JetStream, topology Topology, moved func(from string)) Roamer {
	return Roamer{js: js, topology: topology, moved: moved}
}

// Run looks after the connection until ctx ends. It returns nil. Where only
// one server is known, it leaves things as they are.
func (r Roamer) Run(ctx context.Context) error {
	nc := r.js.Conn()
	since, session := time.Now(), nc.Stats().Reconnects
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(roamEvery):
		}
		now := nc.Stats().Reconnects
		if !nc.IsConnected() || now != session || len(nc.Servers()) < 2 || !r.alone(ctx) {
			since, session = time.Now(), now // each server gets its time
			continue
		}
		if time.Since(since) < roamAfter || ctx.Err() != nil {
			continue
		}
		from := nc.ConnectedUrlRedacted()
		if nc.ForceReconnect() == nil { // else it is closed
			r.moved(from)
		}
		since = time.Now()
	}
}

// alone says whether the server answers that it knows no leader of its
// cluster. It goes on telling of streams that it led before, as they were.
func (r Roamer) alone(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, roamWait)
	defer cancel()
	_, err := r.js.AccountInfo(ctx)
	var refused *jetstream.APIError
	return errors.As(err, &refused) && refused.ErrorCode == noLeader
}
