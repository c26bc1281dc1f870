package erasure

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/failpoint"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
)

// maxUnpacked bounds the size of a compressed rejection.
const maxUnpacked = 16 << 20

// eraseIntake removes what no ingest has received yet. Then it waits until what
// they have received is stored or rejected: the next steps search for both. What
// it can't wait for is left to the next call.
func (e *Eraser) eraseIntake(ctx context.Context, r *run) error {
	search := streams.Search{
		Stream: e.js.IntakeStream(), Consumer: events.IntakeConsumer, From: r.progress.intake,
		Matches: func(held streams.StoredMessage) bool { return e.isTo(held, r.To) },
	}
	if r.DryRun {
		walked, err := streams.Count(ctx, e.js, search)
		r.result.Intake = int64(walked.Matched)
		return withNATSProblem(err)
	}
	walked, unsure, err := streams.EraseWaiting(ctx, e.js, search)
	r.result.Intake, r.progress.intake = int64(walked.Matched), walked.Next
	r.result.More = unsure
	failpoint.At(failpoint.EraseIntake)
	if err != nil {
		return withNATSProblem(err)
	}
	bounded, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if err := streams.AwaitAcked(bounded, e.js, search.Stream, search.Consumer); err != nil && bounded.Err() == nil {
		return withNATSProblem(err)
	}
	r.result.More = r.result.More || bounded.Err() != nil
	return nil
}

func (e *Eraser) eraseRejected(ctx context.Context, r *run) error {
	search := streams.Erase
	if r.DryRun {
		search = streams.Count
	}
	walked, err := search(ctx, e.js, streams.Search{
		Stream: e.js.RejectedStream(), From: r.progress.rejected,
		Matches: func(held streams.StoredMessage) bool { return e.isTo(held, r.To) },
	})
	r.result.Rejected, r.progress.rejected = int64(walked.Matched), walked.Next
	return withNATSProblem(err)
}

// isTo reports whether a published message is for a recipient. If it is not
// JSON, it only has to contain the recipient.
func (e *Eraser) isTo(held streams.StoredMessage, recipient string) bool {
	data := held.Data
	if held.Headers.Get("Content-Encoding") == "gzip" {
		if reader, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			data, _ = io.ReadAll(io.LimitReader(reader, maxUnpacked)) // as much as can be read
		}
	}
	var body struct {
		To    any `json:"to"`
		Phone any `json:"phoneNumber"`
	}
	if json.Unmarshal(data, &body) != nil {
		return bytes.Contains(data, []byte(recipient))
	}
	for _, named := range []any{body.To, body.Phone} {
		if text, ok := named.(string); ok && (text == recipient || e.recipients.Normalize(text) == recipient) {
			return true
		}
	}
	return false
}
