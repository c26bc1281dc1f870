package streams

import "errors"

// errGap means that events were lost on their way here.
var errGap = errors.New("events are missing between two batches")
