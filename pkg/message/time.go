package message

import (
	"errors"
	"strings"
	"time"
)

// ParseTime's errors are the end of a sentence that begins with a field.
var (
	// ErrTime is returned for what is not RFC 3339.
	ErrTime = errors.New(`must be a time as in RFC 3339, such as "2030-01-31T12:00:00Z"`)
	// ErrTimeRange is returned for a year that JSON can't write.
	ErrTimeRange = errors.New("must lie in the years 1 to 9999, in UTC")
)

// ParseTime reads RFC 3339 and nothing else, its t and z also as small letters
// (§5.6), and returns UTC, cut to the microsecond: Postgres keeps no more, and rounding could lead out of the
// year 9999, past which a stored time can't be answered as JSON. It returns
// ErrTime or ErrTimeRange.
func ParseTime(text string) (time.Time, error) {
	text = capitals(text)
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || !isStrict(text) {
		return time.Time{}, ErrTime
	}
	t = t.UTC().Truncate(time.Microsecond)
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, ErrTimeRange
	}
	return t, nil
}

// capitals makes the two letters of a time large.
func capitals(text string) string {
	const date = len("2006-01-02")
	if len(text) > date && text[date] == 't' {
		text = text[:date] + "T" + text[date+1:]
	}
	if rest, found := strings.CutSuffix(text, "z"); found {
		text = rest + "Z"
	}
	return text
}

// isStrict refuses what time.Parse, and UnmarshalText with it, takes beyond
// RFC 3339: an hour of one digit, a decimal comma, an offset of 24:60.
func isStrict(text string) bool {
	if text[len("2006-01-02T15")] != ':' || strings.Contains(text, ",") {
		return false
	}
	if strings.HasSuffix(text, "Z") {
		return true
	}
	offset := text[len(text)-len("00:00"):]
	return offset[:2] <= "23" && offset[3:] <= "59"
}
