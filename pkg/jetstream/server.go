package jetstream

import (
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
)

// OldestNATS is the oldest version of NATS that the services work with: a
// consumer can be reset to a sequence since 2.14, and message schedules are
// there since 2.12. An older server passes over a setting that it does not know,
// and says nothing.
var OldestNATS = [2]int{2, 14}

// CheckServer returns ErrUnavailable without a connection, ErrTooOld if the
// server at its other end is, and ErrMaxPayload if that takes too little.
func CheckServer(nc *nats.Conn) error {
	if err := Connected(nc); err != nil {
		return err
	}
	if err := CheckVersion(nc.ConnectedServerVersion()); err != nil {
		return err
	}
	return checkMaxPayload(nc)
}

// CheckVersion returns ErrTooOld if a server's version is older than OldestNATS.
// A version that can't be read is a build of one's own.
func CheckVersion(version string) error {
	var major, minor int
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n < 2 {
		return nil
	}
	if slices.Compare([]int{major, minor}, OldestNATS[:]) < 0 {
		return fmt.Errorf("NATS %s: %w", version, ErrTooOld)
	}
	return nil
}
