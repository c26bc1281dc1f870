package deliveries

import "errors"

// ErrNotHeld means that the caller no longer holds a delivery: its hold has expired, or
// another delivery of the id has replaced it.
var ErrNotHeld = errors.New("the delivery belongs to somebody else by now")
