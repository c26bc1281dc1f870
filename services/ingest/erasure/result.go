package erasure

import "time"

// Result is the result of an erasure.
type Result struct {
	DryRun      bool       `json:"dryRun"`
	Erased      int64      `json:"erased"`      // messages
	Cancelled   int64      `json:"cancelled"`   // messages that were not final
	Attempts    int64      `json:"attempts"`    // of the erased messages
	Cached      int64      `json:"cached"`      // messages in Redis
	Unpublished int64      `json:"unpublished"` // events in the outbox
	Intake      int64      `json:"intake"`      // messages of the intake stream
	Rejected    int64      `json:"rejected"`    // messages of the stream of rejections
	EventsUntil *time.Time `json:"eventsUntil"` // when EVENTS has deleted the last event that names the recipient
	More        bool       `json:"more,omitempty"`
}
