package service

import (
	"os"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// NewLogger returns a logger that writes to stderr. Times are UTC in ISO 8601 with
// milliseconds, durations look like 1m30s. It changes no global logger.
func NewLogger(cfg settings.Log) *zap.Logger {
	return newLogger(cfg, zapcore.Lock(os.Stderr), isTerminal(os.Stderr))
}

func newLogger(cfg settings.Log, to zapcore.WriteSyncer, terminal bool) *zap.Logger {
	level, err := zapcore.ParseLevel(cfg.Level)
	if err != nil {
		level = zapcore.InfoLevel
	}
	encoding := zapcore.EncoderConfig{
		TimeKey: "ts", LevelKey: "level", NameKey: "logger", MessageKey: "msg", StacktraceKey: "stack",
		EncodeTime:     encodeTime,
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.StringDurationEncoder,
		EncodeName:     zapcore.FullNameEncoder,
	}
	format := strings.ToLower(cfg.Format)
	encoder := zapcore.NewJSONEncoder(encoding)
	if format == "console" || format == "" && terminal {
		encoding.ConsoleSeparator = "  "
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	return zap.New(zapcore.NewCore(encoder, to, level))
}

func encodeTime(t time.Time, enc zapcore.PrimitiveArrayEncoder) {
	enc.AppendString(t.UTC().Format("2006-01-02T15:04:05.000Z"))
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
