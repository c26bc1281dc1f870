package checker

import (
	"cmp"
	"fmt"
	"slices"
)

// acceptance: whatever was accepted is there, once, under the id that was
// answered, and nothing is there that nobody handed in.
func (j *judge) acceptance() {
	byKey := map[string][]Row{}
	for _, row := range j.Rows {
		byKey[row.Key] = append(byKey[row.Key], row)
		if _, known := j.clients[row.Key]; !known {
			j.report(Invented, row.ID, fmt.Sprintf("nobody handed in a message with the key %q", row.Key))
		}
	}
	for _, op := range j.Ops {
		rows := byKey[op.Key]
		switch {
		case op.Gone && len(rows) == 0:
		case op.Gone:
			j.report(Contradicted, op.ID, "it is gone, a client was told, and Postgres has it")
		case len(rows) > 1:
			j.report(Duplicated, rows[1].ID, fmt.Sprintf("the key %s is there %d times, also as %s", op.Key, len(rows), rows[0].ID))
		case op.Replaced:
			j.report(Contradicted, op.ID, "another body was accepted under its key")
		case !op.Refused.IsZero():
			j.report(Contradicted, cmp.Or(op.ID, op.Key), "accepted, and a repeat of it refused at "+clock(op.Refused))
		case len(op.OtherIDs) > 0:
			j.report(Lost, op.OtherIDs[0], "a repeat was answered with this id instead of "+op.ID)
		case op.Accepted.IsZero() || len(rows) == 0 && j.rejected[op.Key]:
		case len(rows) == 0:
			j.report(Lost, cmp.Or(op.ID, op.Key), fmt.Sprintf("accepted by %s, and not in Postgres", op.Via))
		case op.ID != "" && op.ID != rows[0].ID:
			j.report(Lost, op.ID, "accepted under this id, but Postgres has the key as "+rows[0].ID)
		}
	}
}

// rejections: an entry of the intake is put aside only if it expired before it
// was in the stream, and is not stored besides.
func (j *judge) rejections() {
	for _, r := range j.Rejected {
		op, known := j.clients[r.Key]
		late := !op.ExpiresAt.IsZero() && op.ExpiresAt.Before(r.Stored)
		switch {
		case !known || op.Via != "nats" || !late:
			j.report(Lost, cmp.Or(r.Key, r.ID), fmt.Sprintf("put aside as %s at %s", r.Code, clock(r.Stored)))
		case slices.ContainsFunc(j.Rows, func(row Row) bool { return row.Key == r.Key }):
			j.report(Contradicted, r.Key, "stored, and put aside as "+r.Code)
		}
	}
}

func final(status string) bool {
	switch status {
	case "SENT", "FAILED", "CANCELLED", "EXPIRED":
		return true
	default:
		return false
	}
}

// endings: every message has come to its end.
func (j *judge) endings() {
	for _, row := range j.Rows {
		if !final(row.Status) {
			j.report(Unfinished, row.ID, "still "+row.Status)
		}
	}
}

// outcomes: a message is what the webhook answered, and every answer that
// reached its sender is on record, as it was given.
func (j *judge) outcomes() {
	for _, row := range j.Rows {
		j.againstWebhook(row)
		j.recorded(row)
	}
	for id, requests := range j.requests {
		row, known := j.row[id]
		switch {
		case j.gone[id]:
		case !known:
			j.report(Contradicted, id, "sent to the webhook, and not in Postgres")
		case requests[0].Key != "" && requests[0].Key != row.Key:
			j.report(Contradicted, id, fmt.Sprintf("sent with the body of %s, stored for %s", requests[0].Key, row.Key))
		}
	}
}

func (j *judge) againstWebhook(row Row) {
	var answered, certain bool
	for _, r := range j.requests[row.ID] {
		if r.succeeded() {
			answered = true
			certain = certain || r.Written && j.excuse(r) == ""
		}
	}
	switch {
	case row.Status == "SENT" && !answered:
		j.report(Contradicted, row.ID, "SENT, but the webhook never answered with a 2xx")
	case final(row.Status) && row.Status != "SENT" && certain:
		j.report(Contradicted, row.ID, row.Status+", but the webhook answered with a 2xx")
	}
}

// recorded matches requests and attempts by number and status.
func (j *judge) recorded(row Row) {
	type one struct{ number, status int }
	sent := map[one]int{}
	for _, r := range j.requests[row.ID] {
		sent[one{r.Attempt, r.Status}]++
	}
	known := map[one]int{}
	highest := 0
	for _, a := range j.attempts[row.ID] {
		known[one{a.Number, a.Status}]++
		highest = max(highest, a.Number)
		if a.Status != 0 && sent[one{a.Number, a.Status}] == 0 {
			j.report(Contradicted, row.ID, fmt.Sprintf("attempt %d is on record with %d, which the webhook never answered to it", a.Number, a.Status))
		}
	}
	for n := 1; n <= highest; n++ {
		found := false
		for _, a := range j.attempts[row.ID] {
			found = found || a.Number == n
		}
		if !found {
			j.report(Unrecorded, row.ID, fmt.Sprintf("there is an attempt %d, but no %d", highest, n))
		}
	}
	if row.Attempts != highest {
		j.report(Unrecorded, row.ID, fmt.Sprintf("the row counts %d attempts, the last on record is %d", row.Attempts, highest))
	}
	for _, r := range j.requests[row.ID] {
		if r.Status != 0 && r.Written && known[one{r.Attempt, r.Status}] == 0 && j.excuse(r) == "" {
			j.report(Unrecorded, row.ID, fmt.Sprintf("the webhook answered %d to attempt %d, which is not on record", r.Status, r.Attempt))
		}
	}
}

// budgets: retries are used up by what was recorded, never by kills.
func (j *judge) budgets() {
	for _, row := range j.Rows {
		used := row.Attempts - row.BudgetStart
		if used > j.MaxRetries+1 {
			j.report(Contradicted, row.ID, fmt.Sprintf("%d attempts, with %d retries allowed", used, j.MaxRetries))
		}
		if row.Status != "FAILED" || used > j.MaxRetries {
			continue
		}
		list := j.attempts[row.ID]
		if len(list) == 0 || !refusal(list[len(list)-1].Status) {
			j.report(Contradicted, row.ID, fmt.Sprintf("FAILED after %d attempts without a refusal, with %d retries allowed: %s", used, j.MaxRetries, row.LastError))
		}
	}
}

// refusal is an answer that ends a message at once.
func refusal(status int) bool {
	return status >= 300 && status < 500 && status != 408 && status != 425 && status != 429
}
