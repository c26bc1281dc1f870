package recorder

import (
	"context"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// Restore records outcomes that Postgres may have lost, and returns how many
// messages they changed. It skips an outcome that Postgres refuses, because the
// recorder has skipped it too.
func Restore(ctx context.Context, base component.Base, outcomes []db.Outcome) (restored int, err error) {
	err = splitBadData(outcomes,
		func(some []db.Outcome) error {
			ctx, cancel := context.WithTimeout(ctx, component.RecordTimeout)
			defer cancel()
			changed, err := base.Store.Record(ctx, some, base.Lease)
			restored += changed
			return err
		},
		func(db.Outcome, error) {})
	return restored, err
}

// splitBadData calls do with values. If Postgres refuses their data, it calls do
// with each half, until it has found the values that are refused, and calls
// refused with them. It returns the first other error, and then leaves out the
// values that follow.
func splitBadData[T any](values []T, do func([]T) error, refused func(T, error)) error {
	if len(values) == 0 {
		return nil
	}
	err := do(values)
	switch {
	case err == nil || !dbpool.BadData(err):
		return err
	case len(values) == 1:
		refused(values[0], err)
		return nil
	}
	half := len(values) / 2
	if err := splitBadData(values[:half], do, refused); err != nil {
		return err
	}
	return splitBadData(values[half:], do, refused)
}
