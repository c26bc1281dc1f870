package db

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/message-dispatcher/dispatch/pkg/db/dbpool"
	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Filter narrows a List; a zero field does not filter.
type Filter struct {
	Statuses       []message.Status
	Destination    string
	To             string
	Type           string
	ExternalID     string
	IdempotencyKey string
	CreatedAfter   *time.Time  // inclusive
	CreatedBefore  *time.Time  // exclusive
	Before         *message.ID // a page begins below this id
	Limit          int
	MaxBytes       int // of content and payload, and what surrounds them; 0: as many as there are
}

// Page is a part of a list.
type Page struct {
	Messages []message.Message
	More     bool // there are others behind those
}

// listOverhead is what a message weighs in a list besides what it carries.
const listOverhead = 1024

// ListPage is List that says whether there is more, and ends before MaxBytes;
// the first message is always on the page.
func (s *Store) ListPage(ctx context.Context, f Filter) (Page, error) {
	limit := f.Limit
	f.Limit++
	found, cut, err := s.list(ctx, f)
	if err != nil {
		return Page{}, err
	}
	return Page{Messages: found[:min(len(found), limit)], More: cut || len(found) > limit}, nil
}

// List returns messages newest first, at most Limit of them. Any one filter,
// with a time range or without, costs the same at any size of the table; of
// several, one is walked and the others are looked at on the way. It returns
// ErrTooSlow when that takes too long.
func (s *Store) List(ctx context.Context, f Filter) ([]message.Message, error) {
	f.MaxBytes = 0
	found, _, err := s.list(ctx, f)
	return found, err
}

// list reads rows as they come, so that what is beyond the bytes is never held.
func (s *Store) list(ctx context.Context, f Filter) (found []message.Message, cut bool, err error) {
	sql, args := listStatement(f)
	rows, err := dbpool.Statements(s.reads).Query(ctx, sql, args...)
	if err != nil {
		return nil, false, fmt.Errorf("list messages: %w", tooSlow(err))
	}
	defer rows.Close()
	found = []message.Message{}
	for size := 0; rows.Next(); {
		row, err := pgx.RowToStructByNameLax[dbsqlc.Message](rows)
		if err != nil {
			return nil, false, fmt.Errorf("list messages: %w", tooSlow(err))
		}
		m := toMessage(row)
		size += len(m.Payload) + len(m.Content) + listOverhead
		if cut = f.MaxBytes > 0 && size > f.MaxBytes && len(found) > 0; cut {
			break
		}
		found = append(found, m)
	}
	if rows.Close(); rows.Err() != nil {
		return nil, false, fmt.Errorf("list messages: %w", tooSlow(rows.Err()))
	}
	slices.SortFunc(found, func(a, b message.Message) int { return bytes.Compare(b.ID[:], a.ID[:]) })
	return found[:min(len(found), f.Limit)], cut, nil
}

// walk is a filter, and what the index along which it is walked demands.
type walk struct {
	column, value string
	beside        bool   // the index is on message_filters
	hashed        bool   // the index is by the column's hash
	index         string // the rest of its condition
	scoped        bool   // the index is by scope, not by id: as few rows have a value as there are scopes
}

// walks lists the filters that are set, those first that leave least: the
// first is walked. A destination that has no index comes last, unwalked.
func (f Filter) walks(status message.Status) []walk {
	state := walk{column: "status", value: string(status)}
	all := []walk{
		{column: "external_id", value: f.ExternalID, hashed: true, index: " AND %s.external_id IS NOT NULL"},
		{column: "idempotency_key", value: f.IdempotencyKey, scoped: true},
		{column: "recipient", value: f.To, beside: true},
		state,
		{column: "type", value: f.Type, beside: true, index: " AND %s.type IS NOT NULL"},
		{column: "destination", value: f.Destination, beside: true, index: " AND %s.destination <> 'default'"},
	}
	if status == message.Sent { // nearly everything is
		all[3], all[4] = all[4], all[3]
	}
	return slices.DeleteFunc(all, func(w walk) bool { return w.value == "" })
}

// idRange is the range of ids that holds what the filter looks for: a
// message's creation time is its id's, cut to microseconds.
func (f Filter) idRange() (from, before message.ID) {
	first := func(at time.Time) message.ID {
		if whole := at.Truncate(time.Microsecond); whole.Before(at) {
			at = whole.Add(time.Microsecond)
		}
		return message.FirstID(at)
	}
	before = message.ID(bytes.Repeat([]byte{0xff}, len(before)))
	if f.CreatedAfter != nil {
		from = first(*f.CreatedAfter)
	}
	if f.CreatedBefore != nil {
		before = first(*f.CreatedBefore)
	}
	if f.Before != nil && bytes.Compare(f.Before[:], before[:]) < 0 {
		before = *f.Before
	}
	return from, before
}

// columns are those of messages.
var columns = func() string {
	var names []string
	row := reflect.TypeFor[dbsqlc.Message]()
	for i := range row.NumField() {
		names = append(names, "m."+row.Field(i).Tag.Get("db"))
	}
	return strings.Join(names, ", ")
}()

// statement is put together in Go, since it depends on the filters.
type statement struct{ args []any }

// arg returns the placeholder of a value.
func (s *statement) arg(value any) string {
	s.args = append(s.args, value)
	return "$" + strconv.Itoa(len(s.args))
}

// listStatement returns the statement of a list. Several states are a walk
// each; the rows themselves, payloads included, are read for the page alone. It
// is one statement, and so one moment: a message that moves is in one of the
// states. (LATERAL with a LIMIT keeps the planner from walking all messages.)
func listStatement(f Filter) (sql string, args []any) {
	statuses := slices.Compact(slices.Sorted(slices.Values(f.Statuses)))
	if len(statuses) == 0 || len(statuses) == len(message.Statuses()) {
		statuses = []message.Status{""} // any
	}
	var s statement
	if len(statuses) == 1 {
		return s.walk(f, statuses[0], columns), s.args
	}
	walks := make([]string, len(statuses))
	for i, status := range statuses {
		walks[i] = "(" + s.walk(f, status, "m.id") + ")"
	}
	return "SELECT " + columns + " FROM (SELECT id FROM (" + strings.Join(walks, " UNION ALL ") + ") AS walked ORDER BY id DESC LIMIT " + s.arg(f.Limit) + ") AS page" +
		" CROSS JOIN LATERAL (SELECT * FROM messages AS m WHERE m.id = page.id LIMIT 1) AS m ORDER BY page.id DESC", s.args
}

// walk returns the statement that walks one state. The bounds of the walk are
// pairs, and the order begins with the walk's column, so that its index alone
// can answer: from how often a value comes the planner could conclude that
// walking all messages finds some soon, and all that are found may be a month
// back.
func (s *statement) walk(f Filter, status message.Status, columns string) string {
	from, before := f.idRange()
	first, last := s.arg(before), s.arg(from)
	table, order, limit := "messages AS m", "m.id DESC", &f.Limit
	where := fmt.Sprintf("m.id < %s AND m.id >= %s", first, last)
	for i, w := range f.walks(status) {
		switch {
		case i > 0 || w.column == "destination" && w.value == message.DefaultDestination:
			where += fmt.Sprintf(" AND m.%s = %s", w.column, s.arg(w.value))
		case w.scoped:
			where += fmt.Sprintf(" AND m.%[1]s >= %[2]s AND m.%[1]s <= %[2]s", w.column, s.arg(w.value))
			order, limit = "m."+w.column+" DESC, m.idempotency_scope DESC", nil
		default:
			of := "m"
			if w.beside {
				of, table = "f", "message_filters AS f JOIN messages AS m ON m.id = f.id"
			}
			key, value := of+"."+w.column, s.arg(w.value)
			where = ""
			if w.hashed {
				where = key + " = " + value + " AND "
				key, value = "hashtext("+key+")", "hashtext("+value+")"
			}
			where += fmt.Sprintf("(%[2]s, %[1]s.id) < (%[3]s, %[4]s) AND (%[2]s, %[1]s.id) >= (%[3]s, %[5]s)", of, key, value, first, last)
			if w.index != "" {
				where += fmt.Sprintf(w.index, of)
			}
			order = fmt.Sprintf("%s DESC, %s.id DESC", key, of)
		}
	}
	return "SELECT " + columns + " FROM " + table + " WHERE " + where + " ORDER BY " + order + " LIMIT " + s.arg(limit)
}
