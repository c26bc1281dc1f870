package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func (b *bench) lists(ctx context.Context) error {
	lists := b.store.WithReadPool(b.reads)
	var samples []message.Message
	const sample = 20_000
	percent := min(100, 100*sample/float64(b.rows))
	rows, err := b.pool.Query(ctx, fmt.Sprintf(`SELECT id FROM messages TABLESAMPLE SYSTEM (%g) LIMIT %d`, percent, sample))
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[message.ID])
	if err != nil {
		return err
	}
	for range 400 {
		m, err := b.store.Get(ctx, ids[rand.IntN(len(ids))])
		if err != nil {
			return err
		}
		samples = append(samples, m)
	}
	pick := func() message.Message { return samples[rand.IntN(len(samples))] }
	filters := b.filters(pick)
	names := make([]string, 0, len(filters))
	for name := range filters {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, when := range []string{"", "after", "before", "between"} {
			took, err := timed(ctx, 200, b.seconds, func() error {
				f := db.Filter{Limit: 21}
				filters[name](&f)
				from := pick().CreatedAt
				to := from.Add(24 * time.Hour)
				if when == "after" || when == "between" {
					f.CreatedAfter = &from
				}
				if when == "before" || when == "between" {
					f.CreatedBefore = &to
				}
				_, err := lists.List(ctx, f)
				return err
			})
			if err != nil {
				return fmt.Errorf("%s %s: %w", name, when, err)
			}
			tell(strings.TrimSpace(name+" "+when), took)
		}
	}
	took, err := timed(ctx, 2000, b.seconds, func() error {
		_, err := b.store.Get(ctx, ids[rand.IntN(len(ids))])
		return err
	})
	if err != nil {
		return err
	}
	tell("one message", took)
	took, err = timed(ctx, 500, b.seconds, func() error {
		_, err := b.store.Overview(ctx)
		return err
	})
	tell("overview", took)
	return err
}

// filters are what is asked for; those that look for something rare take it
// from a message that there is.
func (b *bench) filters(pick func() message.Message) map[string]func(*db.Filter) {
	filters := map[string]func(*db.Filter){
		"no filter":            func(*db.Filter) {},
		"destination, default": func(f *db.Filter) { f.Destination = message.DefaultDestination },
		"destination":          func(f *db.Filter) { f.Destination = "other" },
		"destination, rare":    func(f *db.Filter) { f.Destination = "rare" },
		"to":                   func(f *db.Filter) { f.To = pick().To },
		"type":                 func(f *db.Filter) { f.Type = "invoice.created" },
		"type, unknown":        func(f *db.Filter) { f.Type = "no.such.type" },
		"externalId":           func(f *db.Filter) { f.ExternalID = pick().ExternalID },
		"idempotencyKey":       func(f *db.Filter) { f.IdempotencyKey = "key-" + fmt.Sprint(rand.IntN(b.rows/100)*100+1) },
		"SENT and default":     func(f *db.Filter) { f.Statuses, f.Destination = []message.Status{message.Sent}, "default" },
		"FAILED and type":      func(f *db.Filter) { f.Statuses, f.Type = []message.Status{message.Failed}, "invoice.created" },
		"three states": func(f *db.Filter) {
			f.Statuses = []message.Status{message.Failed, message.Cancelled, message.Expired}
		},
	}
	for _, status := range message.Statuses() {
		filters[string(status)] = func(f *db.Filter) { f.Statuses = []message.Status{status} }
	}
	return filters
}
