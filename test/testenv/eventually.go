package testenv

import (
	"fmt"
	"testing"
	"time"
)

// WaitTimeout bounds every wait. It is far above what a loaded machine takes, so
// that it is reached only when something is broken.
const WaitTimeout = 2 * time.Minute

// The first looks follow each other quickly, since most waits are short. Later
// ones are rare: many tests wait at the same time, and a look may cost a query.
const (
	firstLook = time.Millisecond
	lastLook  = 100 * time.Millisecond
)

// Eventually waits until a condition holds and fails the test if it does not
// within WaitTimeout. The condition is called by the test's own goroutine. What
// follows it is a message in the form of fmt.Sprintf.
func Eventually(t testing.TB, condition func() bool, message ...any) {
	t.Helper()
	EventuallyWithin(t, WaitTimeout, condition, message...)
}

// EventuallyWithin is Eventually for what takes long on a slow machine.
func EventuallyWithin(t testing.TB, timeout time.Duration, condition func() bool, message ...any) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for interval := firstLook; !condition(); interval = min(interval*3/2, lastLook) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s%s", timeout, describe(message))
		}
		<-time.After(interval)
	}
}

func describe(message []any) string {
	if len(message) == 0 {
		return ""
	}
	format, ok := message[0].(string)
	if !ok {
		return ": " + fmt.Sprint(message...)
	}
	return ": " + fmt.Sprintf(format, message[1:]...)
}
