package jetstream

import (
	"context"
	"encoding/json"
	"time"

	"github.com/synadia-io/orbit.go/natsext"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	roamEvery = 2 * time.Second // between two looks
	roamWait  = 2 * time.Second // for all answers of one
	// roamAfter is how long something may be out of reach: longer than an
	// election, which takes 5 to 9 s, and in which no other server has a leader
	// either.
	roamAfter = 12 * time.Second
	// roamAtMost bounds what roamAfter grows to while no server reaches it.
	roamAtMost = 2 * time.Minute
)

// The server's error codes of answers that another server may give better.
const (
	noLeader        = 10008
	streamOffline   = 10118
	consumerOffline = 10119
)

// Roamer moves a connection to another server of the cluster when the one that
// it has does not reach a stream or a consumer. A server passes things on to
// its neighbours and no further. One that lost the leader of a stream, or all
// others, still answers its clients' pings, so that they would stay with it.
type Roamer struct {
	js    *Client
	moved func(from string)
}

// NewRoamer returns a Roamer that says which server it left.
func NewRoamer(js *Client, moved func(from string)) Roamer {
	return Roamer{js: js, moved: moved}
}

// Run looks after the connection until ctx ends. It returns nil. Where only
// one server is known, it leaves things as they are. When the next server is
// no better, it stays there for twice as long.
func (r Roamer) Run(ctx context.Context) error {
	nc := r.js.Conn()
	since, session, patience := time.Now(), nc.Stats().Reconnects, roamAfter
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(roamEvery):
		}
		now := nc.Stats().Reconnects
		switch {
		case !nc.IsConnected() || now != session || len(nc.Servers()) < 2:
			since, session = time.Now(), now // each server gets its time
		case r.Reaches(ctx):
			since, patience = time.Now(), roamAfter
		case time.Since(since) >= patience && ctx.Err() == nil:
			from := nc.ConnectedUrlRedacted()
			if nc.ForceReconnect() == nil { // else it is closed
				r.moved(from)
			}
			since, patience = time.Now(), min(2*patience, roamAtMost)
		}
	}
}

// Reaches says whether every stream and every consumer answers.
func (r Roamer) Reaches(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, roamWait)
	defer cancel()
	for _, stream := range r.js.Streams() {
		if !r.answered(ctx, "STREAM.INFO."+stream.Name) {
			return false
		}
	}
	for _, c := range r.js.Consumers([]string{message.DefaultDestination}) {
		if !r.answered(ctx, "CONSUMER.INFO."+c.Stream+"."+c.Config.Durable) {
			return false
		}
	}
	return true
}

// answered says whether somebody answers who knows. Servers that have a copy
// and know no leader answer too, and often first.
func (r Roamer) answered(ctx context.Context, question string) bool {
	answers, err := natsext.RequestMany(ctx, r.js.Conn(), APIPrefix(r.js.Options().Domain)+question, nil)
	if err != nil {
		return false
	}
	for answer, err := range answers {
		if err != nil {
			return false
		}
		if knows(answer.Data) {
			return true
		}
	}
	return false
}

func knows(answer []byte) bool {
	var info struct {
		Cluster *struct{ Leader string } // nil: the server is alone
		Error   struct {
			Code int `json:"err_code"`
		}
	}
	if json.Unmarshal(answer, &info) != nil {
		return false
	}
	switch info.Error.Code {
	case noLeader, streamOffline, consumerOffline:
		return false
	}
	return info.Cluster == nil || info.Cluster.Leader != ""
}
