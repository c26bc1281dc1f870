package connect

import (
	"errors"
)

// ErrRefused is what a server answers that does not let us in.
var ErrRefused = errors.New("refuses us")
