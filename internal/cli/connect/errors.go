package connect

import (
	"errors"
)

// ErrRefused means that a server was reached and refuses the connection.
var ErrRefused = errors.New("refuses the connection")
