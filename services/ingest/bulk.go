package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Bounds of a bulk retry.
const (
	bulkBatch  = 1000 // messages of a transaction
	bulkBudget = 10 * time.Second
)

// bulkRetry is a request to retry all that a filter matches.
type bulkRetry struct {
	filter db.RedriveFilter
	dryRun bool
}

// bulkAnswer is what became of it.
type bulkAnswer struct {
	Matched int64 `json:"matched"` // when it began
	Retried int64 `json:"retried"`
	DryRun  bool  `json:"dryRun"`
	More    bool  `json:"more,omitempty"` // time was up: asking again goes on
}

func (a *api) retryMany(c *fiber.Ctx) error {
	body, err := a.jsonBody(c, true)
	if err != nil {
		return err
	}
	request, err := readBulkRetry(body)
	if err != nil {
		return err
	}
	done, err := a.cases.RetryMany(context.Background(), request, time.Now().Add(bulkBudget))
	if err != nil {
		return a.brokenOff(c, done, err)
	}
	return answer(c, done)
}

// brokenOff is the problem of a bulk retry that could not be finished. Its
// last batch may count or not: whether it was committed was not answered.
func (a *api) brokenOff(c *fiber.Ctx, done bulkAnswer, err error) error {
	p := problemOf(err)
	a.report(c, p, err)
	if !done.DryRun {
		p.Retried = &done.Retried
		p.Detail += fmt.Sprintf("; %d messages were brought back before that, and the same request goes on with the rest", done.Retried)
	}
	return p
}

// RetryMany brings back all that a filter matches, in batches of their own
// transactions, none of which begins after the deadline. What it has retried
// stays so whatever becomes of the rest; it may be repeated.
func (u *useCases) RetryMany(ctx context.Context, r bulkRetry, deadline time.Time) (bulkAnswer, error) {
	done := bulkAnswer{DryRun: r.dryRun}
	var err error
	if done.Matched, err = u.countRetryable(ctx, r.filter); err != nil || r.dryRun {
		return done, err
	}
	var after message.ID
	for moved := make([]message.ID, bulkBatch); len(moved) == bulkBatch; {
		if !time.Now().Before(deadline) {
			done.More = true
			break
		}
		if moved, after, err = u.retryBatch(ctx, r.filter, after); err != nil {
			return done, err
		}
		failpoint.At(failpoint.RedriveBatchStored)
		done.Retried += int64(len(moved))
		u.wake()
		u.recache(moved)
	}
	return done, nil
}

func (u *useCases) countRetryable(ctx context.Context, filter db.RedriveFilter) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	return u.store.CountRedrivable(ctx, filter)
}

func (u *useCases) retryBatch(ctx context.Context, filter db.RedriveFilter, after message.ID) (moved []message.ID, last message.ID, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	return u.store.RedriveBatch(ctx, filter, after, bulkBatch)
}

// readBulkRetry reads a filter. Its error names every mistake: a filter that
// is not understood must not match everything.
func readBulkRetry(body []byte) (bulkRetry, error) {
	fields, errs, err := readFields(body)
	if err != nil {
		return bulkRetry{}, err
	}
	r := bulkReader{errs: errs}
	r.request.filter.Statuses = []message.Status{message.Failed}
	for _, f := range fields {
		r.read(f.name, f.value)
	}
	if after, before := r.request.filter.CreatedAfter, r.request.filter.CreatedBefore; after != nil && before != nil && !after.Before(*before) {
		r.wrong("createdBefore", message.CodeOutOfRange, "must be later than createdAfter")
	}
	if mistakes := atMost(r.errs); len(mistakes) > 0 {
		return bulkRetry{}, &message.ValidationError{Errors: mistakes}
	}
	return r.request, nil
}

// bulkReader gathers a request and every mistake in it.
type bulkReader struct {
	request bulkRetry
	errs    []message.FieldError
}

func (r *bulkReader) wrong(field, code, text string) {
	r.errs = append(r.errs, message.FieldError{Field: field, Code: code, Message: text})
}

// read reads one field; a null counts as absent.
func (r *bulkReader) read(name string, value json.RawMessage) {
	read, known := map[string]func(json.RawMessage){
		"status": r.status, "destination": r.destination, "dryRun": r.dryRun,
		"createdAfter":  func(v json.RawMessage) { r.request.filter.CreatedAfter = r.time(name, v) },
		"createdBefore": func(v json.RawMessage) { r.request.filter.CreatedBefore = r.time(name, v) },
	}[name]
	switch {
	case !known:
		r.wrong(shortened(name), message.CodeUnknownField, "is not a field of this request; status, destination, createdAfter, createdBefore and dryRun are")
	case string(value) != "null":
		read(value)
	}
}

func (r *bulkReader) status(value json.RawMessage) {
	var names []string
	var name string
	switch {
	case json.Unmarshal(value, &name) == nil:
		names = []string{name}
	case json.Unmarshal(value, &names) != nil:
		r.wrong("status", message.CodeWrongType, "must be a string, or a list of strings")
		return
	case len(names) == 0:
		r.wrong("status", message.CodeBlank, "must not be an empty list")
		return
	}
	r.request.filter.Statuses = nil
	for _, name := range names {
		status, ok := message.ParseStatus(name)
		if !ok || !message.Redrive.Allows(status) {
			r.wrong("status", message.CodeInvalidValue, fmt.Sprintf("must be of FAILED, CANCELLED and EXPIRED, is %q", shortened(name)))
			continue
		}
		if !slices.Contains(r.request.filter.Statuses, status) {
			r.request.filter.Statuses = append(r.request.filter.Statuses, status)
		}
	}
}

func (r *bulkReader) destination(value json.RawMessage) {
	var name string
	switch {
	case json.Unmarshal(value, &name) != nil:
		r.wrong("destination", message.CodeWrongType, "must be a string")
	case !message.DestinationPattern.MatchString(name):
		r.wrong("destination", message.CodeInvalidFormat, "must be a destination's name: a-z, 0-9, '_' and '-'")
	}
	r.request.filter.Destination = name
}

func (r *bulkReader) dryRun(value json.RawMessage) {
	if json.Unmarshal(value, &r.request.dryRun) != nil {
		r.wrong("dryRun", message.CodeWrongType, "must be true or false")
	}
}

func (r *bulkReader) time(name string, value json.RawMessage) *time.Time {
	var text string
	if json.Unmarshal(value, &text) != nil {
		r.wrong(name, message.CodeWrongType, "must be a string")
		return nil
	}
	t, err := message.ParseTime(text)
	if err != nil {
		r.wrong(name, timeCode(err), err.Error())
		return nil
	}
	return &t
}
