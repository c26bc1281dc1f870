package message_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestRetryAfterIsReadAsItIsMeant(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		// What RFC 9110 has.
		"7": 7 * time.Second, "0": 0, "99999999999999999999999": year,
		"Sun, 01 Mar 2026 12:01:00 GMT":  time.Minute,
		"Sun, 01 Mar 2026 11:59:00 GMT":  0,
		"Sunday, 01-Mar-26 12:01:00 GMT": time.Minute,
		"Sun Mar  1 12:01:00 2026":       time.Minute,
		// Numbers that are often written instead.
		" 120 ": 2 * time.Minute, "20.0": 20 * time.Second, "1.5": 1500 * time.Millisecond, "20.": 20 * time.Second,
		"20s": 20 * time.Second, "20 s": 20 * time.Second, "20 seconds": 20 * time.Second, "1 Second": time.Second,
		"1772366460": time.Minute, "1772366460.5": time.Minute, "1772366000": 0, "1772366460000": year, "900000000": year,
		// Dates that are often written instead.
		"Sun, 01 Mar 2026 12:01:00 +0000": time.Minute,
		"Sun, 01 Mar 2026 13:01:00 +0100": time.Minute,
		"Sun, 01 Mar 2026 12:01:00 UTC":   time.Minute,
		"Sun, 1 Mar 2026 12:01:00 GMT":    time.Minute,
		"Sun, 01 Mar 2026 12:01:00":       time.Minute,
		"01 Mar 2026 12:01:00 GMT":        time.Minute,
		"2026-03-01T12:01:00Z":            time.Minute,
		"2026-03-01T12:01:00.000Z":        time.Minute,
		"2026-03-01T13:01:00+01:00":       time.Minute,
		"2026-03-01T13:01:00+0100":        time.Minute,
		"2026-03-01T12:01:00":             time.Minute,
		"2026-03-01 12:01:00":             time.Minute,
		"2026-03-01 12:01:00 UTC":         time.Minute,
		"2026-03-01 12:01:00Z":            time.Minute,
		"2126-03-01T12:01:00Z":            year,
		// What can't be read.
		"": 0, "-5": 0, "-5.0": 0, "soon": 0, "s": 0, ".": 0, ".5": 0, "1e3": 0, "NaN": 0, "+Inf": 0, "0x10": 0, "20m": 0, "1,5": 0, "20, 30": 0,
		"2026-03-01": 0, "Sun, 01 Mar 2026 12:01:00 EST": 0, "2026-13-01T12:01:00Z": 0,
	} {
		require.Equal(t, want, message.RetryAfter(value, now), "%q", value)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("20.0")
	f.Add("Sun, 01 Mar 2026 12:01:00 +0000")
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		wait := message.RetryAfter(value, now)
		require.GreaterOrEqual(t, wait, time.Duration(0))
		require.LessOrEqual(t, wait, 365*24*time.Hour)
	})
}
