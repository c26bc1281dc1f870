package erasure

import "time"

// erasureAnswer is what became of it.
type erasureAnswer struct {
	DryRun      bool       `json:"dryRun"`
	Erased      int64      `json:"erased"`      // messages
	Cancelled   int64      `json:"cancelled"`   // of them, not yet final
	Attempts    int64      `json:"attempts"`    // of them
	Cached      int64      `json:"cached"`      // states in Redis
	Unpublished int64      `json:"unpublished"` // events that waited for NATS
	Intake      int64      `json:"intake"`      // entries of the intake stream
	Rejected    int64      `json:"rejected"`    // entries of the stream of rejections
	EventsUntil *time.Time `json:"eventsUntil"` // when the last event that names the recipient is gone
	More        bool       `json:"more,omitempty"`
}
