package recorder

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// RecordAgain records outcomes. One that Postgres refuses was left out before.
func RecordAgain(ctx context.Context, store *db.Store, outcomes []db.Outcome, lease time.Duration) (int, error) {
	if len(outcomes) == 0 {
		return 0, nil
	}
	bounded, cancel := context.WithTimeout(ctx, component.RecordTimeout)
	defer cancel()
	moved, err := store.Record(bounded, outcomes, lease)
	if err == nil || !db.BadData(err) {
		return moved, err
	}
	if len(outcomes) == 1 {
		return 0, nil
	}
	half := len(outcomes) / 2
	first, err := RecordAgain(ctx, store, outcomes[:half], lease)
	if err != nil {
		return first, err
	}
	second, err := RecordAgain(ctx, store, outcomes[half:], lease)
	return first + second, err
}
