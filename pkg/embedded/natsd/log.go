package natsd

import (
	"fmt"
	"sync"

	"go.uber.org/zap"
)

// log hands the server's log to zap. The server says why it can't start to its log only, so the
// first such line is kept.
type log struct {
	to    *zap.SugaredLogger
	mu    sync.Mutex
	first error
}

func newLog(logger *zap.Logger) *log {
	if logger == nil {
		logger = zap.NewNop()
	}
	return &log{to: logger.Named("nats").Sugar()}
}

func (l *log) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

// Noticef logs at debug level: two dozen lines a start, for nobody who did not ask.
func (l *log) Noticef(format string, v ...any) { l.to.Debugf(format, v...) }

// Warnf logs a warning.
func (l *log) Warnf(format string, v ...any) { l.to.Warnf(format, v...) }

// Errorf logs an error.
func (l *log) Errorf(format string, v ...any) { l.to.Errorf(format, v...) }

// Fatalf keeps the reason, which Start returns, and lets the process live, other than the server's
// own logger. The server calls it while it starts only.
func (l *log) Fatalf(format string, v ...any) {
	l.mu.Lock()
	if l.first == nil {
		l.first = fmt.Errorf(format, v...) //nolint:err113 // the server's own words
	}
	l.mu.Unlock()
	l.to.Debugf(format, v...)
}

// Debugf is not called, as the server's debugging is off.
func (l *log) Debugf(format string, v ...any) { l.to.Debugf(format, v...) }

// Tracef is not called, as the server's tracing is off.
func (l *log) Tracef(format string, v ...any) { l.to.Debugf(format, v...) }
