package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pipeline/ledger"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

var promises = ledger.Promises{
	Interval: 10 * time.Second, Batch: 2, AckWait: 15 * time.Second, WebhookTimeout: 3 * time.Second, MaxRetries: 2,
}

// truth is what a run leaves in which all went well: one message was sent at
// once, one after a retry, and one was refused.
func truth() ledger.Record {
	r := ledger.Record{
		Told: []ledger.Told{
			{Key: "k1", Via: "http", Tried: at(0), Accepted: at(0.1), ID: "one"},
			{Key: "k2", Via: "nats", Tried: at(0), Accepted: at(0.1)},
			{Key: "k3", Via: "http", Tried: at(0), Accepted: at(0.1), ID: "three"},
			{Key: "k4", Via: "http", Tried: at(0)}, // never answered, and never stored
		},
		Requests: []ledger.Request{
			request("one", "k1", 1, 2, 202), request("two", "k2", 1, 2, 503), request("two", "k2", 2, 6, 202),
			request("three", "k3", 1, 13, 400),
		},
		Rows: []ledger.Row{
			row("one", "k1", "SENT", 3, 1), row("two", "k2", "SENT", 4, 2), row("three", "k3", "FAILED", 3, 1),
		},
		Attempts: []ledger.Attempt{
			attempt("one", 1, 2, 202), attempt("two", 1, 2, 503), attempt("two", 2, 6, 202), attempt("three", 1, 13, 400),
		},
		Disturbances: []ledger.Disturbance{{What: ledger.Kill, Target: "sender-1", From: at(20), Until: at(21)}},
		Stops:        []ledger.Stop{{From: at(30), Until: at(40)}},
		Counted:      map[string]int64{"SENT": 2, "FAILED": 1},
		Kept:         map[string]int64{"SENT": 2, "FAILED": 1, "PENDING": 0},
		APICounts:    map[string]int64{"SENT": 2, "FAILED": 1, "QUEUED": 0},
		RedisCounts:  map[string]int64{"SENT": 2, "FAILED": 1},
		API:          map[string]ledger.Copy{},
		Redis:        map[string]ledger.Copy{},
	}
	tell(&r, "one", "created", 1, "PENDING", 0, 0.1)
	tell(&r, "two", "created", 1, "PENDING", 0, 0.1)
	tell(&r, "three", "created", 1, "PENDING", 0, 0.1)
	tell(&r, "one", "queued", 2, "QUEUED", 0, 1)
	tell(&r, "two", "queued", 2, "QUEUED", 0, 1)
	tell(&r, "one", "sent", 3, "SENT", 1, 2.2)
	tell(&r, "two", "attempted", 3, "RETRYING", 1, 2.2)
	tell(&r, "two", "sent", 4, "SENT", 2, 6.2)
	tell(&r, "three", "queued", 2, "QUEUED", 0, 12)
	tell(&r, "three", "failed", 3, "FAILED", 1, 13.2)
	for _, row := range r.Rows {
		r.API[row.ID] = ledger.Copy{ID: row.ID, Status: row.Status, Attempts: row.Attempts}
		r.Redis[row.ID] = ledger.Copy{ID: row.ID, Status: row.Status, Version: row.Version}
	}
	return r
}

func request(id, key string, number int, seconds float64, status int) ledger.Request {
	return ledger.Request{
		Sender: "sender-1", ID: id, Key: key, Attempt: number,
		Arrived: at(seconds), Done: at(seconds + 0.1), Status: status, Written: true,
	}
}

func row(id, key, status string, version int64, attempts int) ledger.Row {
	return ledger.Row{ID: id, Key: key, Status: status, Version: version, Claim: 1, Attempts: attempts, Created: at(0), Updated: at(7)}
}

func attempt(id string, number int, seconds float64, status int) ledger.Attempt {
	return ledger.Attempt{Message: id, Number: number, Claim: 1, Delivery: number, Started: at(seconds), Status: status}
}

func tell(r *ledger.Record, id, kind string, sequence int64, status string, number int, seconds float64) {
	r.Events = append(r.Events, ledger.Event{
		Stored: at(seconds), Position: uint64(len(r.Events) + 1), ID: fmt.Sprintf("%s.%d.%s", id, sequence, kind),
		Type: kind, Message: id, Sequence: sequence, Status: status, Attempt: number,
	})
}

func TestWhatWentWellIsNotComplainedAbout(t *testing.T) {
	t.Parallel()
	verdict := ledger.Judge(truth(), promises)
	require.Empty(t, verdict.Findings)
	require.Empty(t, verdict.Doubles)
}

// TestEveryLieIsFound spoils one thing at a time.
func TestEveryLieIsFound(t *testing.T) {
	t.Parallel()
	// again is a second request for the first message, which was answered.
	again := func(r *ledger.Record, seconds float64) {
		r.Requests = append(r.Requests, request("one", "k1", 1, seconds, 202))
	}
	for name, lie := range map[string]struct {
		kind  string
		spoil func(r *ledger.Record)
	}{
		"accepted by HTTP and gone": {ledger.Lost, func(r *ledger.Record) { r.Rows = r.Rows[1:] }},
		"accepted by NATS and gone": {ledger.Lost, func(r *ledger.Record) { r.Rows = append(r.Rows[:1:1], r.Rows[2:]...) }},
		"answered with another id":  {ledger.Lost, func(r *ledger.Record) { r.Told[0].ID = "other" }},
		"nobody sent it":            {ledger.Invented, func(r *ledger.Record) { r.Rows[0].Key = "k9" }},
		"stored twice":              {ledger.Doubled, func(r *ledger.Record) { r.Rows = append(r.Rows, row("four", "k1", "SENT", 3, 1)) }},
		"never sent":                {ledger.Unfinished, func(r *ledger.Record) { r.Rows[0].Status = "PENDING" }},
		"sent without a request":    {ledger.Contradicted, func(r *ledger.Record) { r.Requests = r.Requests[1:] }},
		"sent though refused":       {ledger.Contradicted, func(r *ledger.Record) { r.Requests[0].Status = 400 }},
		"failed though accepted":    {ledger.Contradicted, func(r *ledger.Record) { r.Rows[0].Status = "FAILED" }},
		"another's body":            {ledger.Contradicted, func(r *ledger.Record) { r.Requests[0].Key = "k3" }},
		"the webhook knows more":    {ledger.Contradicted, func(r *ledger.Record) { r.Requests = append(r.Requests, request("nine", "k9", 1, 2, 202)) }},
		"an answer made up":         {ledger.Contradicted, func(r *ledger.Record) { r.Attempts[0].Status = 200 }},
		"given up too early":        {ledger.Contradicted, func(r *ledger.Record) { r.Attempts[3].Status, r.Requests[3].Status = 503, 503 }},
		"tried too often":           {ledger.Contradicted, func(r *ledger.Record) { r.Rows[2].Attempts = 4 }},
		"an attempt not on record":  {ledger.Unrecorded, func(r *ledger.Record) { r.Attempts = append(r.Attempts[:1:1], r.Attempts[2:]...) }},
		"attempts counted wrong":    {ledger.Unrecorded, func(r *ledger.Record) { r.Rows[1].Attempts = 1 }},
		"sent twice":                {ledger.Doubled, func(r *ledger.Record) { again(r, 5) }},
		"sent twice, kill too late": {ledger.Doubled, func(r *ledger.Record) { again(r, 22) }},
		"sent twice, another killed": {ledger.Doubled, func(r *ledger.Record) {
			r.Disturbances[0] = ledger.Disturbance{What: ledger.Kill, Target: "sender-2", From: at(2), Until: at(4)}
			again(r, 5)
		}},
		"sent twice, cut off for less than the ack wait": {ledger.Doubled, func(r *ledger.Record) {
			r.Disturbances[0] = ledger.Disturbance{What: ledger.Fault, Target: "sender-1", Other: "nats", From: at(2), Until: at(4)}
			again(r, 18)
		}},
		"sent twice, dispatcher killed": {ledger.Doubled, func(r *ledger.Record) {
			r.Disturbances[0] = ledger.Disturbance{What: ledger.Kill, Target: "dispatcher-1", From: at(2), Until: at(4)}
			again(r, 5)
		}},
		"an attempt repeated": {ledger.Doubled, func(r *ledger.Record) { r.Requests[2].Attempt = 1 }},
		"too fast":            {ledger.OutOfPace, func(r *ledger.Record) { r.Events[8].Stored = at(10.9) }},
		"emitted while stopped": {ledger.AfterStop, func(r *ledger.Record) {
			r.Events[8].Stored, r.Events[9].Stored = at(35), at(36)
		}},
		"an event missing":       {ledger.EventMissing, func(r *ledger.Record) { r.Events = append(r.Events[:6:6], r.Events[7:]...) }},
		"an event about nobody":  {ledger.EventWrong, func(r *ledger.Record) { tell(r, "nine", "created", 1, "PENDING", 0, 1) }},
		"an event too many":      {ledger.EventWrong, func(r *ledger.Record) { tell(r, "one", "failed", 3, "FAILED", 1, 3) }},
		"an event from ahead":    {ledger.EventWrong, func(r *ledger.Record) { tell(r, "one", "sent", 9, "SENT", 1, 3) }},
		"an event out of order":  {ledger.EventWrong, func(r *ledger.Record) { r.Events[3].Sequence, r.Events[0].Sequence = 1, 2 }},
		"an event says another":  {ledger.EventWrong, func(r *ledger.Record) { r.Events[5].Status = "FAILED" }},
		"the last event differs": {ledger.EventWrong, func(r *ledger.Record) { r.Events[5].Type, r.Events[5].Status = "failed", "FAILED" }},
		"something left over":    {ledger.LeftOver, func(r *ledger.Record) { r.Left = []ledger.Left{{Where: "outbox", What: "1 row"}} }},
		"kept counts wrong":      {ledger.Miscounted, func(r *ledger.Record) { r.Kept["PENDING"] = 1 }},
		"API's counts wrong":     {ledger.Miscounted, func(r *ledger.Record) { r.APICounts["SENT"] = 1 }},
		"Redis' counts wrong":    {ledger.Miscounted, func(r *ledger.Record) { delete(r.RedisCounts, "FAILED") }},
		"the API differs":        {ledger.APIDiffers, func(r *ledger.Record) { r.API["one"] = ledger.Copy{Status: "QUEUED", Attempts: 1} }},
		"the API lacks one":      {ledger.APIDiffers, func(r *ledger.Record) { delete(r.API, "one") }},
		"the API has one more":   {ledger.APIDiffers, func(r *ledger.Record) { r.API["nine"] = ledger.Copy{} }},
		"Redis is behind":        {ledger.RedisDiffers, func(r *ledger.Record) { r.Redis["two"] = ledger.Copy{Status: "SENT", Version: 3} }},
		"Redis lacks one":        {ledger.RedisDiffers, func(r *ledger.Record) { delete(r.Redis, "two") }},
		"Redis has one more":     {ledger.RedisDiffers, func(r *ledger.Record) { r.Redis["nine"] = ledger.Copy{} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record := truth()
			lie.spoil(&record)
			verdict := ledger.Judge(record, promises)
			var kinds []string
			for _, finding := range verdict.Findings {
				kinds = append(kinds, finding.Kind)
			}
			require.Contains(t, kinds, lie.kind)
		})
	}
}

// TestARequestInFlightAtAKillMayBeRepeated: what the promise allows is told
// apart, counted, and named with its reason.
func TestARequestInFlightAtAKillMayBeRepeated(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]ledger.Disturbance{
		"its sender was killed":           {What: ledger.Kill, Target: "sender-1", From: at(2.05), Until: at(4)},
		"its way to the webhook broke":    {What: ledger.Fault, Target: "sender-1", Other: "webhook", From: at(2.05), Until: at(2.1)},
		"its sender was frozen":           {What: ledger.Freeze, Target: "sender-1", From: at(2.05), Until: at(22)},
		"its sender was cut off for long": {What: ledger.Fault, Target: "sender-1", Other: "nats", From: at(2.05), Until: at(18)},
		"NATS was away for long":          {What: ledger.Freeze, Target: "nats", From: at(1), Until: at(18)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record := truth()
			record.Disturbances = append(record.Disturbances, d)
			record.Requests = append(record.Requests, request("one", "k1", 1, 25, 202))
			record.Events[5].Stored = at(25.2) // the second request's outcome
			verdict := ledger.Judge(record, promises)
			require.Empty(t, verdict.Findings)
			require.Len(t, verdict.Doubles, 1)
			require.NotEmpty(t, verdict.Doubles[0].Excuse)
		})
	}
}

// TestARequestThatTheNetworkHeldBackMayArriveLate: its sender has long given
// it up and made the next attempt.
func TestARequestThatTheNetworkHeldBackMayArriveLate(t *testing.T) {
	t.Parallel()
	late := func(d ...ledger.Disturbance) ledger.Verdict {
		record := truth()
		record.Requests[1] = request("two", "k2", 1, 9, 202)
		record.Attempts[1].Status = 0
		record.Disturbances = d
		return ledger.Judge(record, promises)
	}
	for _, until := range []float64{8.95, 5} { // the way is free again before the request has come through
		verdict := late(ledger.Disturbance{What: ledger.Fault, Target: "sender-1", Other: "webhook", From: at(2), Until: at(until)})
		require.Empty(t, verdict.Findings)
		require.Len(t, verdict.Doubles, 1)
	}
	require.NotEmpty(t, late().Findings)
}

// TestAnAnswerMayComeTooLateForItsSender: the timeout counts from when the
// attempt began, not from when the request arrived.
func TestAnAnswerMayComeTooLateForItsSender(t *testing.T) {
	t.Parallel()
	slow := func(began float64) ledger.Verdict {
		record := truth()
		record.Requests[1].Arrived, record.Requests[1].Done, record.Requests[1].Status = at(2.6), at(5), 202
		record.Attempts[1] = attempt("two", 1, began, 0)
		record.Events[6].Stored = at(5.1)
		return ledger.Judge(record, promises)
	}
	verdict := slow(2)
	require.Empty(t, verdict.Findings)
	require.Len(t, verdict.Doubles, 1)
	require.NotEmpty(t, slow(2.59).Findings)
}

func TestAFindingTellsTheWholeHistory(t *testing.T) {
	t.Parallel()
	record := truth()
	record.Rows[1].Status = "RETRYING"
	verdict := ledger.Judge(record, promises)
	require.NotEmpty(t, verdict.Findings)
	history := verdict.Findings[0].History
	for _, text := range []string{"hands in k2 by nats", "is told that it is accepted", "sent attempt 1", "answered 503", "attempted: version 3", "attempt 2 begins", "RETRYING, version 4", "Redis says SENT", "the API says SENT"} {
		require.Contains(t, history, text)
	}
}
