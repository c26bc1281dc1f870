package bench

import (
	"syscall"
	"time"
)

// sleep waits for a few milliseconds, to a twentieth of one, and holds a thread
// for as long.
func sleep(d time.Duration) {
	for end := time.Now().Add(d); d > 0; d = time.Until(end) {
		left := syscall.NsecToTimespec(d.Nanoseconds())
		_ = syscall.Nanosleep(&left, nil) // its one error is that a signal ended it; then the rest follows
	}
}
