package natsd

import (
	"fmt"
	"sync"

	"go.uber.org/zap"
)

// log writes the server's log to zap. The server reports why it can't start only in
// its log, so the first fatal line is kept.
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

// Noticef logs at debug level, because each start writes two dozen lines.
func (l *log) Noticef(format string, v ...any) { l.to.Debugf(format, v...) }

// Warnf logs a warning.
func (l *log) Warnf(format string, v ...any) { l.to.Warnf(format, v...) }

// Errorf logs an error.
func (l *log) Errorf(format string, v ...any) { l.to.Errorf(format, v...) }

// Fatalf keeps the reason, which Start returns. It does not end the process, as the
// server's own logger does. The server calls it only while it starts.
func (l *log) Fatalf(format string, v ...any) {
	l.mu.Lock()
	if l.first == nil {
		l.first = fmt.Errorf(format, v...) //nolint:err113 // the server's own text
	}
	l.mu.Unlock()
	l.to.Debugf(format, v...)
}

// Debugf is not called, because debugging is off in the server.
func (l *log) Debugf(format string, v ...any) { l.to.Debugf(format, v...) }

// Tracef is not called, because tracing is off in the server.
func (l *log) Tracef(format string, v ...any) { l.to.Debugf(format, v...) }
