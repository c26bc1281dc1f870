package events

import "errors"

// errBatch means that what the outbox holds is not what Encode wrote.
var errBatch = errors.New("not a batch of entries")
