package checker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/checker"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

var promises = checker.Promises{
	Interval: 10 * time.Second, Batch: 2, AckWait: 15 * time.Second, WebhookTimeout: 3 * time.Second, MaxRetries: 2,
}

// truth is what a run leaves in which all went well: one message was sent at
// once, one after a retry, and one was refused.
func truth() checker.Evidence {
	r := checker.Evidence{
		Ops: []checker.Op{
			{Key: "k1", Via: "http", Invoked: at(0), Accepted: at(0.1), ID: "one"},
			{Key: "k2", Via: "nats", Invoked: at(0), Accepted: at(0.1)},
			{Key: "k3", Via: "http", Invoked: at(0), Accepted: at(0.1), ID: "three"},
			{Key: "k4", Via: "http", Invoked: at(0)}, // never answered, and never stored
		},
		Requests: []checker.Request{
			request("one", "k1", 1, 2, 202), request("two", "k2", 1, 2, 503), request("two", "k2", 2, 6, 202),
			request("three", "k3", 1, 13, 400),
		},
		Rows: []checker.Row{
			row("one", "k1", "SENT", 3, 1), row("two", "k2", "SENT", 4, 2), row("three", "k3", "FAILED", 3, 1),
		},
		Attempts: []checker.Attempt{
			attempt("one", 1, 2, 202), attempt("two", 1, 2, 503), attempt("two", 2, 6, 202), attempt("three", 1, 13, 400),
		},
		Disturbances: []checker.Disturbance{{What: checker.Kill, Target: "sender-1", From: at(20), Until: at(21)}},
		Stops:        []checker.Stop{{From: at(30), Until: at(40)}},
		Counted:      map[string]int64{"SENT": 2, "FAILED": 1},
		Kept:         map[string]int64{"SENT": 2, "FAILED": 1, "PENDING": 0},
		APICounts:    map[string]int64{"SENT": 2, "FAILED": 1, "QUEUED": 0},
		RedisCounts:  map[string]int64{"SENT": 2, "FAILED": 1},
		API:          map[string]checker.View{},
		Redis:        map[string]checker.View{},
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
		r.API[row.ID] = checker.View{ID: row.ID, Status: row.Status, Attempts: row.Attempts}
		r.Redis[row.ID] = checker.View{ID: row.ID, Status: row.Status, Version: row.Version}
	}
	return r
}

func request(id, key string, number int, seconds float64, status int) checker.Request {
	return checker.Request{
		Sender: "sender-1", ID: id, Key: key, Attempt: number,
		Arrived: at(seconds), Done: at(seconds + 0.1), Status: status, Written: true,
	}
}

func row(id, key, status string, version int64, attempts int) checker.Row {
	return checker.Row{ID: id, Key: key, Status: status, Version: version, Claim: 1, Attempts: attempts, Created: at(0), Updated: at(7)}
}

func attempt(id string, number int, seconds float64, status int) checker.Attempt {
	return checker.Attempt{Message: id, Number: number, Claim: 1, Delivery: number, Started: at(seconds), Status: status}
}

func tell(r *checker.Evidence, id, kind string, sequence int64, status string, number int, seconds float64) {
	r.Events = append(r.Events, checker.Event{
		Stored: at(seconds), Position: uint64(len(r.Events) + 1), ID: fmt.Sprintf("%s.%d.%s", id, sequence, kind),
		Type: kind, Message: id, Sequence: sequence, Status: status, Attempt: number,
	})
}

func TestWhatWentWellIsNotComplainedAbout(t *testing.T) {
	t.Parallel()
	verdict := checker.Judge(truth(), promises)
	require.Empty(t, verdict.Findings)
	require.Empty(t, verdict.Duplicates)
}

// TestEveryLieIsFound spoils one thing at a time.
func TestEveryLieIsFound(t *testing.T) {
	t.Parallel()
	// again is a second request for the first message, which was answered.
	again := func(r *checker.Evidence, seconds float64) {
		r.Requests = append(r.Requests, request("one", "k1", 1, seconds, 202))
	}
	for name, lie := range map[string]struct {
		kind  string
		spoil func(r *checker.Evidence)
	}{
		"accepted by HTTP and gone": {checker.Lost, func(r *checker.Evidence) { r.Rows = r.Rows[1:] }},
		"accepted by NATS and gone": {checker.Lost, func(r *checker.Evidence) { r.Rows = append(r.Rows[:1:1], r.Rows[2:]...) }},
		"answered with another id":  {checker.Lost, func(r *checker.Evidence) { r.Ops[0].ID = "other" }},
		"nobody sent it":            {checker.Invented, func(r *checker.Evidence) { r.Rows[0].Key = "k9" }},
		"stored twice":              {checker.Duplicated, func(r *checker.Evidence) { r.Rows = append(r.Rows, row("four", "k1", "SENT", 3, 1)) }},
		"never sent":                {checker.Unfinished, func(r *checker.Evidence) { r.Rows[0].Status = "PENDING" }},
		"sent without a request":    {checker.Contradicted, func(r *checker.Evidence) { r.Requests = r.Requests[1:] }},
		"sent though refused":       {checker.Contradicted, func(r *checker.Evidence) { r.Requests[0].Status = 400 }},
		"failed though accepted":    {checker.Contradicted, func(r *checker.Evidence) { r.Rows[0].Status = "FAILED" }},
		"another's body":            {checker.Contradicted, func(r *checker.Evidence) { r.Requests[0].Key = "k3" }},
		"the webhook knows more":    {checker.Contradicted, func(r *checker.Evidence) { r.Requests = append(r.Requests, request("nine", "k9", 1, 2, 202)) }},
		"an answer made up":         {checker.Contradicted, func(r *checker.Evidence) { r.Attempts[0].Status = 200 }},
		"given up too early":        {checker.Contradicted, func(r *checker.Evidence) { r.Attempts[3].Status, r.Requests[3].Status = 503, 503 }},
		"tried too often":           {checker.Contradicted, func(r *checker.Evidence) { r.Rows[2].Attempts = 4 }},
		"an attempt not on record":  {checker.Unrecorded, func(r *checker.Evidence) { r.Attempts = append(r.Attempts[:1:1], r.Attempts[2:]...) }},
		"attempts counted wrong":    {checker.Unrecorded, func(r *checker.Evidence) { r.Rows[1].Attempts = 1 }},
		"sent twice":                {checker.Duplicated, func(r *checker.Evidence) { again(r, 5) }},
		"sent twice, kill too late": {checker.Duplicated, func(r *checker.Evidence) { again(r, 22) }},
		"sent twice, another killed": {checker.Duplicated, func(r *checker.Evidence) {
			r.Disturbances[0] = checker.Disturbance{What: checker.Kill, Target: "sender-2", From: at(2), Until: at(4)}
			again(r, 5)
		}},
		"sent twice, cut off for less than the ack wait": {checker.Duplicated, func(r *checker.Evidence) {
			r.Disturbances[0] = checker.Disturbance{What: checker.Fault, Target: "sender-1", Other: "nats", From: at(2), Until: at(4)}
			again(r, 18)
		}},
		"sent twice, dispatcher killed": {checker.Duplicated, func(r *checker.Evidence) {
			r.Disturbances[0] = checker.Disturbance{What: checker.Kill, Target: "dispatcher-1", From: at(2), Until: at(4)}
			again(r, 5)
		}},
		"an attempt repeated": {checker.Duplicated, func(r *checker.Evidence) { r.Requests[2].Attempt = 1 }},
		"too fast":            {checker.OutOfPace, func(r *checker.Evidence) { r.Events[8].Stored = at(10.9) }},
		"emitted while stopped": {checker.AfterStop, func(r *checker.Evidence) {
			r.Events[8].Stored, r.Events[9].Stored = at(35), at(36)
		}},
		"an event missing":       {checker.EventMissing, func(r *checker.Evidence) { r.Events = append(r.Events[:6:6], r.Events[7:]...) }},
		"an event about nobody":  {checker.EventWrong, func(r *checker.Evidence) { tell(r, "nine", "created", 1, "PENDING", 0, 1) }},
		"an event too many":      {checker.EventWrong, func(r *checker.Evidence) { tell(r, "one", "failed", 3, "FAILED", 1, 3) }},
		"an event from ahead":    {checker.EventWrong, func(r *checker.Evidence) { tell(r, "one", "sent", 9, "SENT", 1, 3) }},
		"an event out of order":  {checker.EventWrong, func(r *checker.Evidence) { r.Events[3].Sequence, r.Events[0].Sequence = 1, 2 }},
		"an event says another":  {checker.EventWrong, func(r *checker.Evidence) { r.Events[5].Status = "FAILED" }},
		"the last event differs": {checker.EventWrong, func(r *checker.Evidence) { r.Events[5].Type, r.Events[5].Status = "failed", "FAILED" }},
		"something left over":    {checker.LeftOver, func(r *checker.Evidence) { r.Leftovers = []checker.Leftover{{Where: "outbox", What: "1 row"}} }},
		"kept counts wrong":      {checker.Miscounted, func(r *checker.Evidence) { r.Kept["PENDING"] = 1 }},
		"API's counts wrong":     {checker.Miscounted, func(r *checker.Evidence) { r.APICounts["SENT"] = 1 }},
		"Redis' counts wrong":    {checker.Miscounted, func(r *checker.Evidence) { delete(r.RedisCounts, "FAILED") }},
		"the API differs":        {checker.APIDiffers, func(r *checker.Evidence) { r.API["one"] = checker.View{Status: "QUEUED", Attempts: 1} }},
		"the API lacks one":      {checker.APIDiffers, func(r *checker.Evidence) { delete(r.API, "one") }},
		"the API has one more":   {checker.APIDiffers, func(r *checker.Evidence) { r.API["nine"] = checker.View{} }},
		"Redis is behind":        {checker.RedisDiffers, func(r *checker.Evidence) { r.Redis["two"] = checker.View{Status: "SENT", Version: 3} }},
		"Redis lacks one":        {checker.RedisDiffers, func(r *checker.Evidence) { delete(r.Redis, "two") }},
		"Redis has one more":     {checker.RedisDiffers, func(r *checker.Evidence) { r.Redis["nine"] = checker.View{} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record := truth()
			lie.spoil(&record)
			verdict := checker.Judge(record, promises)
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
	for name, d := range map[string]checker.Disturbance{
		"its sender was killed":           {What: checker.Kill, Target: "sender-1", From: at(2.05), Until: at(4)},
		"its way to the webhook broke":    {What: checker.Fault, Target: "sender-1", Other: "webhook", From: at(2.05), Until: at(2.1)},
		"its sender was frozen":           {What: checker.Freeze, Target: "sender-1", From: at(2.05), Until: at(22)},
		"its sender was cut off for long": {What: checker.Fault, Target: "sender-1", Other: "nats", From: at(2.05), Until: at(18)},
		"NATS was away for long":          {What: checker.Freeze, Target: "nats", From: at(1), Until: at(18)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record := truth()
			record.Disturbances = append(record.Disturbances, d)
			record.Requests = append(record.Requests, request("one", "k1", 1, 25, 202))
			record.Events[5].Stored = at(25.2) // the second request's outcome
			verdict := checker.Judge(record, promises)
			require.Empty(t, verdict.Findings)
			require.Len(t, verdict.Duplicates, 1)
			require.NotEmpty(t, verdict.Duplicates[0].Excuse)
		})
	}
}

// TestARequestThatTheNetworkHeldBackMayArriveLate: its sender has long given
// it up and made the next attempt.
func TestARequestThatTheNetworkHeldBackMayArriveLate(t *testing.T) {
	t.Parallel()
	late := func(d ...checker.Disturbance) checker.Verdict {
		record := truth()
		record.Requests[1] = request("two", "k2", 1, 9, 202)
		record.Attempts[1].Status = 0
		record.Disturbances = d
		return checker.Judge(record, promises)
	}
	for _, until := range []float64{8.95, 5} { // the way is free again before the request has come through
		verdict := late(checker.Disturbance{What: checker.Fault, Target: "sender-1", Other: "webhook", From: at(2), Until: at(until)})
		require.Empty(t, verdict.Findings)
		require.Len(t, verdict.Duplicates, 1)
	}
	require.NotEmpty(t, late().Findings)
}

// TestAnAnswerMayComeTooLateForItsSender: the timeout counts from when the
// attempt began, not from when the request arrived.
func TestAnAnswerMayComeTooLateForItsSender(t *testing.T) {
	t.Parallel()
	slow := func(began float64) checker.Verdict {
		record := truth()
		record.Requests[1].Arrived, record.Requests[1].Done, record.Requests[1].Status = at(2.6), at(5), 202
		record.Attempts[1] = attempt("two", 1, began, 0)
		record.Events[6].Stored = at(5.1)
		return checker.Judge(record, promises)
	}
	verdict := slow(2)
	require.Empty(t, verdict.Findings)
	require.Len(t, verdict.Duplicates, 1)
	require.NotEmpty(t, slow(2.59).Findings)
}

func TestAFindingShowsTheWholeTimeline(t *testing.T) {
	t.Parallel()
	record := truth()
	record.Rows[1].Status = "RETRYING"
	verdict := checker.Judge(record, promises)
	require.NotEmpty(t, verdict.Findings)
	history := verdict.Findings[0].History
	for _, text := range []string{"hands in k2 by nats", "is told that it is accepted", "sent attempt 1", "answered 503", "attempted: version 3", "attempt 2 begins", "RETRYING, version 4", "Redis says SENT", "the API says SENT"} {
		require.Contains(t, history, text)
	}
}
