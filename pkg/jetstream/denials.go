package jetstream

import (
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// denials records what a server doesn't permit. It is safe for concurrent use.
type denials struct {
	log *zap.Logger

	mu      sync.Mutex
	session uint64 // number of reconnects at the last denial
	last    error
}

// record is the error handler of a connection.
func (d *denials) record(nc *nats.Conn, _ *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		d.log.Debug("NATS", zap.Error(err)) // the caller that is affected sees it too
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	session := nc.Stats().Reconnects
	if d.last == nil || session != d.session || d.last.Error() != err.Error() {
		d.log.Error("the NATS server denies a permission", zap.Error(err))
	}
	d.session, d.last = session, err
}

// any reports whether the current connection was denied anything.
func (d *denials) any(nc *nats.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last != nil && d.session == nc.Stats().Reconnects
}
