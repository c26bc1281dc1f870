package deliveries

import "errors"

// ErrNotHeld means that a copy is not its holder's any more: its hold has
// lapsed, or another copy of the id has taken its place.
var ErrNotHeld = errors.New("the delivery belongs to somebody else by now")
