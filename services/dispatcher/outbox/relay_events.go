package outbox

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const (
	// pageTimeout is how long a page of rows may be published. Postgres ends the
	// transaction 5 s after its last statement.
	pageTimeout = 4 * time.Second
	// Rows are published together up to groupEntries, few enough for a busy
	// server to take them within groupTimeout.
	groupEntries = 500
	groupTimeout = 2500 * time.Millisecond
	// maxDecoded bounds the decoded rows of a page. A row may be packed to a
	// twentieth, so a page that is small in the database can be large here.
	maxDecoded = 16 << 20
	// refusedFor is the wait before a row that NATS refused is tried again.
	refusedFor = time.Minute
)

// relayEvents relays rows of events, page by page.
func (r *Relay) relayEvents(ctx context.Context) error {
	for next := (cursor{more: true}); next.more && ctx.Err() == nil; {
		var err error
		if next, err = r.relayPage(ctx, next.after); err != nil {
			return err
		}
	}
	return nil
}

// cursor is the position of a round.
type cursor struct {
	after int64 // the last row that the round is done with
	more  bool
}

// relayPage relays the next rows. The rows are locked meanwhile. It is not
// interrupted by ctx, so that what is published is also deleted.
func (r *Relay) relayPage(ctx context.Context, after int64) (cursor, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*component.StoreTimeout)
	defer cancel()
	var page pageResult
	var cut int64
	params := db.RelayParams{Age: AbandonedAfter, MaxRetryAfter: refusedFor, After: after, Limit: maxRows}
	relayed, err := r.Store.Relay(ctx, params, func(ctx context.Context, rows []db.OutboxRow) []db.RelayResult {
		ctx, cancel := context.WithTimeout(ctx, pageTimeout)
		defer cancel()
		failpoint.At(failpoint.RelayLocked)
		rows, cut = cutPage(rows)
		page = r.publishRows(ctx, r.decode(rows))
		failpoint.At(failpoint.RelayPublished)
		return page.results
	})
	switch {
	case err != nil:
		return cursor{}, err
	case page.failure != nil:
		return cursor{}, page.failure
	case page.unreached != 0:
		return cursor{after: page.unreached - 1, more: true}, nil
	case cut != 0:
		return cursor{after: cut - 1, more: true}, nil
	}
	return cursor{after: relayed.Last, more: relayed.More}, nil
}

// cutPage cuts rows when they exceed maxDecoded. It returns the id of the first
// row that is cut off, 0 for none.
func cutPage(rows []db.OutboxRow) (page []db.OutboxRow, cut int64) {
	size := 0
	for i, row := range rows {
		if size >= maxDecoded {
			return rows[:i], row.ID
		}
		size += events.OutboxSize(row.Batch)
	}
	return rows, 0
}

// decodedRow is an outbox row of events.
type decodedRow struct {
	id         int64
	entries    []events.OutboxMessage
	unreadable []byte // the batch, if it could not be decoded
}

func (r *Relay) decode(rows []db.OutboxRow) []decodedRow {
	decoded := make([]decodedRow, len(rows))
	for i, row := range rows {
		entries, err := events.DecodeOutbox(row.Batch)
		decoded[i] = decodedRow{id: row.ID, entries: entries}
		if err != nil {
			r.Log.Error("leave an outbox row that cannot be decoded", zap.Int64("outbox", row.ID), zap.Error(err))
			decoded[i].unreadable = row.Batch
		}
	}
	return decoded
}

// result returns what becomes of a row of which some entries were not published.
func (d decodedRow) result(missing []events.OutboxMessage) db.RelayResult {
	result := db.RelayResult{ID: d.id, RetryAfter: refusedFor}
	switch remaining := missingOf(d.entries, missing); {
	case d.unreadable != nil:
		result.Remaining = d.unreadable
	case len(remaining) > 0:
		result.Remaining = events.EncodeOutbox(remaining)
	}
	return result
}

// pageResult is what became of a page of rows.
type pageResult struct {
	results   []db.RelayResult
	unreached int64 // the first row that there was no time for; 0: none
	failure   error // of NATS; it is not the fault of the rows
}

// publishRows publishes rows in their order. A row that NATS refuses waits for
// refusedFor, and does not delay the others.
func (r *Relay) publishRows(ctx context.Context, rows []decodedRow) (page pageResult) {
	var failed []db.RelayResult // perhaps because of NATS
	anyPublished := false
	for len(rows) > 0 && ctx.Err() == nil && r.JS.Conn().IsConnected() {
		size, entries := group(rows)
		publishing, cancel := context.WithTimeout(ctx, groupTimeout)
		missing, err := r.Publisher.PublishSome(publishing, entries)
		cancel()
		anyPublished = anyPublished || len(missing) < len(entries)
		for _, row := range rows[:size] {
			switch result := row.result(missing); {
			case result.Remaining == nil || errors.Is(err, jetstream.ErrRefused):
				page.results = append(page.results, result)
			default:
				failed = append(failed, result)
			}
		}
		if err != nil && !errors.Is(err, jetstream.ErrRefused) {
			page.failure = err
		}
		rows = rows[size:]
	}
	if anyPublished && !jetstream.Full(page.failure) {
		page.failure = nil // NATS works, so the rows are at fault
	}
	for _, result := range failed {
		if page.failure != nil {
			result.RetryAfter = 0
		}
		page.results = append(page.results, result)
	}
	r.count(page.results)
	if len(rows) > 0 {
		page.unreached = rows[0].id
	}
	return page
}

// group returns how many of the rows are published together, at least one, and
// their entries.
func group(rows []decodedRow) (size int, entries []events.OutboxMessage) {
	for size < len(rows) && (size == 0 || len(entries)+len(rows[size].entries) <= groupEntries) {
		entries = append(entries, rows[size].entries...)
		size++
	}
	return size, entries
}

// count counts and logs what became of rows.
func (r *Relay) count(results []db.RelayResult) {
	for _, result := range results {
		switch {
		case result.Remaining == nil:
			r.metrics.relayed.WithLabelValues(kindEvents).Inc()
		case result.RetryAfter > 0:
			r.metrics.refused.Inc()
			r.Log.Error("leave events in the outbox that NATS refuses", zap.Int64("outbox", result.ID), zap.Duration("tried again in", refusedFor))
		}
	}
}
