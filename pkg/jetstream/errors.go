package jetstream

import (
	"errors"
	"fmt"
)

var (
	// ErrUnavailable means that NATS did not confirm a publish in time. Whether
	// the message was stored is unknown; repeating it with the same Msg-Id is
	// harmless within the stream's window.
	ErrUnavailable = errors.New("NATS does not answer")
	// ErrRefused means that NATS takes a message neither now nor later: it is too
	// large, or its subject is none. Nothing is wrong with those next to it.
	ErrRefused = errors.New("NATS refuses it")
	// ErrNotProvisioned means that a stream or a consumer is missing: `dispatch
	// provision` makes it.
	ErrNotProvisioned = errors.New("not provisioned")
	// ErrMaxPayload means that max_payload of NATS is less than LeastMaxPayload.
	ErrMaxPayload = errors.New("max_payload of NATS is too small")
	// ErrTooOld means that a server is older than OldestNATS.
	ErrTooOld = fmt.Errorf("older than version %d.%d, which is needed", OldestNATS[0], OldestNATS[1])
	// ErrNotAsRequested means that a server reports success and a stream or
	// consumer that is not as requested.
	ErrNotAsRequested = errors.New("not as requested")
	// ErrHoldsMore means that a stream holds more than it may hold from now on.
	ErrHoldsMore = errors.New("holds more than that")
)
