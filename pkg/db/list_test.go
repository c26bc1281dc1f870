package db_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// loaded fills a database as the tool schemabench does: what was sent is old, what is
// pending is new, so that no filter's matches are spread evenly.
func loaded(t *testing.T, rows int) *pgxpool.Pool {
	t.Helper()
	url := dbtest.URL(t)
	pool := open(t, url, dbpool.Options{})
	exec(t, pool, fmt.Sprintf(dbtest.LoadSQL, rows))
	for _, table := range []string{"messages", "message_filters"} {
		exec(t, pool, `UPDATE `+table+` SET type = 'user.deleted' WHERE id IN (SELECT id FROM messages ORDER BY id LIMIT 500)`)
		exec(t, pool, `UPDATE `+table+` SET recipient = '+905550000000' WHERE id IN (SELECT id FROM messages ORDER BY id LIMIT 5000)`)
	}
	exec(t, pool, `VACUUM ANALYZE messages, message_filters`)
	return open(t, url, dbpool.Options{Lists: true, StatementTimeout: time.Minute})
}

func open(t *testing.T, url string, options dbpool.Options) *pgxpool.Pool {
	t.Helper()
	options.Name = t.Name()
	pool, err := dbpool.Open(t.Context(), url, options)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// node is a part of EXPLAIN's answer.
type node struct {
	Type    string  `json:"Node Type"`
	Index   string  `json:"Index Name"`
	Rows    float64 `json:"Actual Rows"`
	Removed float64 `json:"Rows Removed by Filter"`
	Plans   []node  `json:"Plans"`
}

func explain(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) node {
	t.Helper()
	var plan []byte
	require.NoError(t, pool.QueryRow(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON) "+sql, args...).Scan(&plan))
	var read []struct{ Plan node }
	require.NoError(t, json.Unmarshal(plan, &read))
	return read[0].Plan
}

// looksAt checks that a plan is a walk along an index that looks at hardly
// more rows than it returns.
func looksAt(t *testing.T, n node, limit float64) {
	t.Helper()
	require.Contains(t, []string{"Limit", "Index Scan", "Index Only Scan", "Nested Loop"}, n.Type)
	require.LessOrEqual(t, n.Rows+n.Removed, 2*limit, "%+v", n)
	for _, below := range n.Plans {
		looksAt(t, below, limit)
	}
}

func TestEveryFilterIsOneWalk(t *testing.T) {
	t.Parallel()
	pool := loaded(t, 20_000)
	all, err := db.NewStore(pool).List(t.Context(), db.Filter{Limit: 20_000})
	require.NoError(t, err)
	newest, oldest := all[0], all[len(all)-1]
	var tried message.Message
	for _, m := range all {
		if m.ExternalID != "" {
			tried = m
			break
		}
	}
	filters := map[string]db.Filter{
		"none":                 {},
		"destination, default": {Destination: message.DefaultDestination},
		"destination":          {Destination: "other"},
		"destination, unknown": {Destination: "nowhere"},
		"to":                   {To: newest.To},
		"to, all of them old":  {To: oldest.To},
		"to, unknown":          {To: "+1"},
		"type":                 {Type: "invoice.created"},
		"type, all of it old":  {Type: "user.deleted"},
		"type, unknown":        {Type: "no.such"},
		"external id":          {ExternalID: tried.ExternalID},
		"external id, unknown": {ExternalID: "x"},
		"key":                  {IdempotencyKey: "key-101"},
		"key, unknown":         {IdempotencyKey: "x"},
	}
	for _, status := range message.Statuses() {
		filters["status "+string(status)] = db.Filter{Statuses: []message.Status{status}}
	}
	middle := all[len(all)*3/4]
	early, late := middle.CreatedAt, middle.CreatedAt.Add(24*time.Hour)
	ranges := map[string]func(*db.Filter){
		"at any time": func(*db.Filter) {},
		"after":       func(f *db.Filter) { f.CreatedAfter = &early },
		"before":      func(f *db.Filter) { f.CreatedBefore = &early },
		"between":     func(f *db.Filter) { f.CreatedAfter, f.CreatedBefore = &early, &late },
		"next page":   func(f *db.Filter) { f.Before = &middle.ID },
	}
	for name, filter := range filters {
		for when, limited := range ranges {
			t.Run(name+", "+when, func(t *testing.T) {
				f := filter
				f.Limit = 100
				limited(&f)
				sql, args := db.ListStatement(f)
				looksAt(t, explain(t, pool, sql, args...), float64(f.Limit))

				var want []message.ID
				for _, m := range all {
					if matches(f, m) && len(want) < f.Limit {
						want = append(want, m.ID)
					}
				}
				got, err := db.NewStore(pool).List(t.Context(), f)
				require.NoError(t, err)
				require.Equal(t, want, append([]message.ID(nil), ids(got)...))
			})
		}
	}
}

// matches is what a filter means.
func matches(f db.Filter, m message.Message) bool {
	equal := func(want, got string) bool { return want == "" || want == got }
	return (len(f.Statuses) == 0 || f.Statuses[0] == m.Status) &&
		equal(f.Destination, m.Destination) && equal(f.To, m.To) && equal(f.Type, m.Type) &&
		equal(f.ExternalID, m.ExternalID) && equal(f.IdempotencyKey, m.IdempotencyKey) &&
		(f.CreatedAfter == nil || !m.CreatedAt.Before(*f.CreatedAfter)) &&
		(f.CreatedBefore == nil || m.CreatedAt.Before(*f.CreatedBefore)) &&
		(f.Before == nil || m.ID.String() < f.Before.String())
}

func TestSeveralFiltersNarrowEachOther(t *testing.T) {
	t.Parallel()
	pool := loaded(t, 2000)
	store := db.NewStore(pool)
	all, err := store.List(t.Context(), db.Filter{Limit: 2000})
	require.NoError(t, err)
	after := all[1500].CreatedAt
	for _, f := range []db.Filter{
		{Statuses: []message.Status{message.Sent}, Type: "order.paid", Destination: message.DefaultDestination, CreatedAfter: &after},
		{Statuses: []message.Status{message.Failed}, Type: "invoice.created"},
		{To: all[1200].To, Statuses: []message.Status{all[1200].Status}, ExternalID: all[1200].ExternalID},
		{Destination: "other", Type: "order.shipped"},
	} {
		f.Limit = 2000
		var want []message.ID
		for _, m := range all {
			if matches(f, m) {
				want = append(want, m.ID)
			}
		}
		got, err := store.List(t.Context(), f)
		require.NoError(t, err)
		require.Equal(t, want, append([]message.ID(nil), ids(got)...), "%+v", f)
	}
	got, err := store.List(t.Context(), db.Filter{Statuses: []message.Status{message.Failed, message.Expired, message.Failed}, Limit: 2000})
	require.NoError(t, err)
	var want []message.ID
	for _, m := range all {
		if m.Status == message.Failed || m.Status == message.Expired {
			want = append(want, m.ID)
		}
	}
	require.NotEmpty(t, want)
	require.Equal(t, want, ids(got))
}

// Each state is walked for a page of ids, and the rows are read for one page.
func TestAListOfSeveralStatesReadsOnePageOfRows(t *testing.T) {
	t.Parallel()
	pool := loaded(t, 20_000)
	const limit = 100
	for name, f := range map[string]db.Filter{
		"alone":     {},
		"of a type": {Type: "invoice.created"},
		"to":        {To: "+905550000000"},
	} {
		f.Limit, f.Statuses = limit, []message.Status{message.Sent, message.Pending, message.Failed, message.Cancelled}
		sql, args := db.ListStatement(f)
		plan := explain(t, pool, sql, args...)
		require.Equal(t, "Nested Loop", plan.Type, name)
		require.Len(t, plan.Plans, 2)
		require.LessOrEqual(t, plan.Plans[0].Rows, float64(limit), name)
		require.Equal(t, "messages_pkey", index(plan.Plans[1]), name)

		all, err := db.NewStore(pool).List(t.Context(), db.Filter{Limit: 20_000})
		require.NoError(t, err)
		var want []message.ID
		for _, m := range all {
			one := f
			one.Statuses = []message.Status{m.Status}
			if slices.Contains(f.Statuses, m.Status) && matches(one, m) && len(want) < limit {
				want = append(want, m.ID)
			}
		}
		got, err := db.NewStore(pool).List(t.Context(), f)
		require.NoError(t, err)
		require.Equal(t, want, ids(got), name)
	}
}

// index is the one that a plan looks up, at whatever depth.
func index(n node) string {
	for n.Index == "" && len(n.Plans) > 0 {
		n = n.Plans[0]
	}
	return n.Index
}

func TestAListThatTakesTooLongIsEnded(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	pool := open(t, url, dbpool.Options{})
	store := db.NewStore(pool).WithReadPool(open(t, url, dbpool.Options{Lists: true, StatementTimeout: 100 * time.Millisecond}))
	_, err := store.List(t.Context(), db.Filter{Limit: 1})
	require.NoError(t, err)

	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }()
	_, err = tx.Exec(t.Context(), "LOCK TABLE messages")
	require.NoError(t, err)
	for _, statuses := range [][]message.Status{nil, {message.Sent, message.Failed}} {
		_, err = store.List(t.Context(), db.Filter{Statuses: statuses, Limit: 1})
		require.ErrorIs(t, err, db.ErrTooSlow)
		require.False(t, dbpool.Unavailable(err))
	}
	require.NoError(t, tx.Rollback(t.Context()))
	_, err = store.List(t.Context(), db.Filter{Limit: 1})
	require.NoError(t, err, "the pool goes on")
}
