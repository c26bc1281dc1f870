package transport

// MaxErrorText is the longest Text of an Error, in bytes.
const MaxErrorText = 200

// Error says why there is no response.
type Error struct {
	Text string // for people; free of secrets
	// NotSent says that the receiver has read nothing of the request.
	NotSent bool
	// Local says that this machine could not open a connection, for want of
	// descriptors, ports or memory. The receiver has no part in it. Local implies
	// NotSent.
	Local bool
	Err   error // the cause; its text may contain secrets
}

// Error returns the text for people.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
