//go:build !linux

package bench

import "time"

// sleep waits as exactly as Go does.
func sleep(d time.Duration) { <-time.After(d) }
