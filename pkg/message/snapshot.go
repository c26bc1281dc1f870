package message

import "time"

// Snapshot is what Redis stores about a message: its state at a version.
type Snapshot struct {
	ID         ID
	Status     Status
	ExternalID string
	SentAt     *time.Time
	UpdatedAt  time.Time // when it reached a final state
	Version    int64
}
