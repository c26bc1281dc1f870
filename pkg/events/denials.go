package events

import (
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// Denials notes what the NATS server does not let a connection do: a
// subscription that is refused is simply not there, and nobody else would ever
// hear of it. It is safe for concurrent use.
type Denials struct {
	log *zap.Logger

	mu      sync.Mutex
	session uint64 // reconnects when last was noted
	last    error
}

// NewDenials returns one that logs each new denial.
func NewDenials(log *zap.Logger) *Denials { return &Denials{log: log} }

// Option has a connection tell of its denials.
func (d *Denials) Option() nats.Option { return nats.ErrorHandler(d.note) }

func (d *Denials) note(nc *nats.Conn, _ *nats.Subscription, err error) {
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

// Denied says whether the server has denied anything since the connection was
// made: what was denied once stays so until it is made anew.
func (d *Denials) Denied(nc *nats.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last != nil && d.session == nc.Stats().Reconnects
}
