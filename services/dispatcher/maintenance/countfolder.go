package maintenance

import (
	"context"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

// foldEvery is how often the counts are summed up.
const foldEvery = 5 * time.Second

// CountFolder sums up the rows in which triggers count messages by status, and
// those in which the recorder stores its progress. Both tables only grow
// otherwise. It works without NATS.
type CountFolder struct {
	component.Base
	failures *service.FailureTracker
}

// NewCountFolder returns a CountFolder.
func NewCountFolder(base component.Base) *CountFolder {
	return &CountFolder{Base: base, failures: base.Track("count folder", service.StateDegraded, "summing up the counts")}
}

// Run folds until ctx ends.
func (f *CountFolder) Run(ctx context.Context) error {
	return service.Loop{Every: foldEvery, Failures: f.failures}.Run(ctx, f.fold)
}

func (f *CountFolder) fold(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, component.StoreTimeout)
	defer cancel()
	if err := f.Store.FoldCounts(ctx); err != nil {
		return err
	}
	if err := f.Store.FoldRecorderProgress(ctx); err != nil {
		return err
	}
	failpoint.At(failpoint.CountsFolded)
	return nil
}
