// Package connect connects a command to Postgres and NATS. It does not wait for a
// server that can't be reached.
package connect

import (
	"errors"
)

// ErrRefused means that a server was reached and refuses the connection.
var ErrRefused = errors.New("refuses the connection")
