package message

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"2030-01-31T12:00:00Z":           noon,
		"2030-01-31T13:00:00+01:00":      noon,
		"2030-01-31t12:00:00z":           noon,
		"2030-01-31t12:00:00.0Z":         noon,
		"2030-01-31T12:00:00z":           noon,
		"2030-01-31t13:00:00+01:00":      noon,
		"2030-01-30T12:01:00.000-23:59":  noon,
		"2030-01-31T12:00:00.999999999Z": noon.Add(999999 * time.Microsecond),
		"9999-12-31T23:59:59.9999999Z":   time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC),
		"0001-01-01T00:00:00Z":           {},
	} {
		at, err := ParseTime(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, at, text)
	}
	for _, text := range []string{"", "2030-01-31", "2030-01-31T12:00:00", "2030-01-31T12:00:00 Z", "2030-01-31 12:00:00Z", "2030-01-31t", "z", "2030-01-31T12:00:00zz", "2030-01-31T2:00:00Z", "2030-01-31T12:00:00,5Z", "2030-01-31T12:00:00+24:00", "2030-01-31T12:00:60Z"} {
		_, err := ParseTime(text)
		assert.ErrorIs(t, err, ErrTime, text)
	}
	for _, text := range []string{"9999-12-31T23:59:59-00:01", "0000-12-31T00:00:00Z", "0001-01-01T00:00:00+00:01"} {
		_, err := ParseTime(text)
		assert.ErrorIs(t, err, ErrTimeRange, text)
	}
}

func FuzzParseTime(f *testing.F) {
	for _, text := range []string{"", "2030-01-31T12:00:00Z", "2030-01-31T1:00:00Z", "9999-12-31T23:59:59.9999999-23:59", "0000-01-01T00:00:00,1+24:60"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := ParseTime(text)
		if err != nil {
			assert.True(t, errors.Is(err, ErrTime) || errors.Is(err, ErrTimeRange))
			return
		}
		written, err := at.MarshalText()
		require.NoError(t, err)
		again, err := ParseTime(string(written))
		require.NoError(t, err)
		require.Equal(t, at, again)
	})
}
