package jetstream

import (
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
)

// ConnectService is Open for a service. It logs what the server does not
// let the service do: a subscription that is refused is simply not there, and
// nobody else would ever hear of it. denied says whether the server has denied
// anything since the connection was made: that stays so until it is made anew.
func ConnectService(access Access, topology events.Topology, name string, log *zap.Logger) (js *Client, denied func() bool, err error) {
	d := &denials{log: log}
	js, err = Connect(access, topology, name, nats.ErrorHandler(d.note))
	if err != nil {
		return nil, nil, err
	}
	return js, func() bool { return d.any(js.Conn()) }, nil
}

// denials notes what a server denies. It is safe for concurrent use.
type denials struct {
	log *zap.Logger

	mu      sync.Mutex
	session uint64 // reconnects when last was noted
	last    error
}

func (d *denials) note(nc *nats.Conn, _ *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		d.log.Debug("NATS", zap.Error(err)) // whoever is affected sees it too
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	session := nc.Stats().Reconnects
	if d.last == nil || session != d.session || d.last.Error() != err.Error() {
		d.log.Error("the NATS server denies a right", zap.Error(err))
	}
	d.session, d.last = session, err
}

func (d *denials) any(nc *nats.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last != nil && d.session == nc.Stats().Reconnects
}
