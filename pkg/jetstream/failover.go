package jetstream

import (
	"context"
	"encoding/json"
	"time"

	"github.com/synadia-io/orbit.go/natsext"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	failoverInterval = 2 * time.Second // between two checks
	failoverTimeout  = 2 * time.Second // for all responses of one check
	// failoverAfter is how long a stream may be out of reach before the connection
	// moves. An election takes 5 to 9 s, and no other server has a leader during it
	// either.
	failoverAfter = 12 * time.Second
	// maxFailoverAfter bounds what failoverAfter grows to while no server reaches
	// every stream.
	maxFailoverAfter = 2 * time.Minute
)

// Error codes of responses to which another server may know a better one.
const (
	codeNoLeader        = 10008
	codeStreamOffline   = 10118
	codeConsumerOffline = 10119
)

// Failover moves a connection to another server of the cluster when the current
// server doesn't reach a stream or a consumer. A server passes requests on to its
// neighbours only. One that lost the leader of a stream, or all other servers,
// still answers its clients' pings, so without Failover they would stay with it.
type Failover struct {
	js  *Client
	log *zap.Logger
}

// NewFailover returns a Failover that logs which server it leaves.
func NewFailover(js *Client, log *zap.Logger) Failover {
	return Failover{js: js, log: log}
}

// Run watches the connection until ctx ends, and returns nil. It does nothing if
// only one server is known. If the next server is no better, Run stays with it for
// twice as long.
func (f Failover) Run(ctx context.Context) error {
	nc := f.js.Conn()
	since, session, after := time.Now(), nc.Stats().Reconnects, failoverAfter
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(failoverInterval):
		}
		now := nc.Stats().Reconnects
		switch {
		case !nc.IsConnected() || now != session || len(nc.Servers()) < 2:
			since, session = time.Now(), now // each server gets its time
		case f.Reaches(ctx):
			since, after = time.Now(), failoverAfter
		case time.Since(since) >= after && ctx.Err() == nil:
			from := nc.ConnectedUrlRedacted()
			if nc.ForceReconnect() == nil { // otherwise the connection is closed
				f.log.Warn("this NATS server does not reach every stream; trying another", zap.String("server", from))
			}
			since, after = time.Now(), min(2*after, maxFailoverAfter)
		}
	}
}

// Reaches reports whether every stream and every consumer responds.
func (f Failover) Reaches(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, failoverTimeout)
	defer cancel()
	for _, stream := range f.js.Streams() {
		if !f.responds(ctx, "STREAM.INFO."+stream.Name) {
			return false
		}
	}
	for _, c := range f.js.Consumers([]string{message.DefaultDestination}) {
		if !f.responds(ctx, "CONSUMER.INFO."+c.Stream+"."+c.Config.Durable) {
			return false
		}
	}
	return true
}

// responds reports whether a server that knows the leader responds. Servers that
// have a copy and know no leader respond too, and often first.
func (f Failover) responds(ctx context.Context, request string) bool {
	responses, err := natsext.RequestMany(ctx, f.js.Conn(), APIPrefix(f.js.Options().Domain)+request, nil)
	if err != nil {
		return false
	}
	for response, err := range responses {
		if err != nil {
			return false
		}
		if knowsLeader(response.Data) {
			return true
		}
	}
	return false
}

func knowsLeader(response []byte) bool {
	var info struct {
		Cluster *struct{ Leader string } // nil: the server is alone
		Error   struct {
			Code int `json:"err_code"`
		}
	}
	if json.Unmarshal(response, &info) != nil {
		return false
	}
	switch info.Error.Code {
	case codeNoLeader, codeStreamOffline, codeConsumerOffline:
		return false
	}
	return info.Cluster == nil || info.Cluster.Leader != ""
}
