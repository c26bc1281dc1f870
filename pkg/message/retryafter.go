package message

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longestRetryAfter bounds what a receiver can ask for; the cap of the backoff
// is far below.
const longestRetryAfter = 365 * 24 * time.Hour

// nearDates are the dates that receivers write in place of those that RFC 9110
// asks for. Names of zones other than GMT and UTC say too little to be read,
// and without a zone it is UTC.
var nearDates = []string{
	time.RFC1123Z, "Mon, _2 Jan 2006 15:04:05 GMT", "Mon, _2 Jan 2006 15:04:05 -0700", "Mon, _2 Jan 2006 15:04:05 UTC", "Mon, _2 Jan 2006 15:04:05",
	"_2 Jan 2006 15:04:05 GMT", "_2 Jan 2006 15:04:05 -0700",
	time.RFC3339, "2006-01-02T15:04:05-0700", "2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 UTC", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05",
}

// RetryAfter reads a Retry-After header as the wait from now on: seconds or a
// date (RFC 9110, 10.2.3), and what is often written instead: 20.0, 20s, the
// time of a clock of Unix, other forms of dates. It is 0 for what can't be
// read, is negative or is over.
func RetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if wait, ok := delaySeconds(value, now); ok {
		return min(max(wait, 0), longestRetryAfter)
	}
	at, err := http.ParseTime(value)
	for _, layout := range nearDates {
		if err == nil {
			break
		}
		at, err = time.Parse(layout, value)
	}
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), longestRetryAfter)
}

// firstUnixTime is the number from which on seconds are a time and not a wait
// of more than thirty years.
const firstUnixTime = 1_000_000_000

func delaySeconds(value string, now time.Time) (time.Duration, bool) {
	number := value
	for _, unit := range []string{"seconds", "second", "secs", "sec", "s"} {
		if rest, found := strings.CutSuffix(strings.ToLower(value), unit); found {
			number = strings.TrimSpace(rest)
			break
		}
	}
	whole, fraction, _ := strings.Cut(number, ".")
	if !allDigits(whole) || fraction != "" && !allDigits(fraction) {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil || seconds >= 10*firstUnixTime:
		return longestRetryAfter, true
	case seconds >= firstUnixTime && number == value:
		return time.Unix(int64(seconds), 0).Sub(now), true
	}
	return time.Duration(min(seconds, longestRetryAfter.Seconds()) * float64(time.Second)), true
}

func allDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}
