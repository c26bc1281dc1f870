package ingest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

type listed struct {
	Data       []message.Message `json:"data"`
	NextCursor *string           `json:"nextCursor"`
}

func batchOf(n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(hello+",", n), ",") + "]"
}

func (i *installation) list(query string) listed {
	i.t.Helper()
	var page listed
	i.send(http.MethodGet, messages+"?"+query, "").into(http.StatusOK, &page)
	return page
}

func TestPagesHoldEveryMessageOnce(t *testing.T) {
	t.Parallel()
	i := start(t)
	require.Empty(t, i.list("").Data)
	require.NotNil(t, i.list("").Data)
	i.send(http.MethodPost, batches, batchOf(45)).into(http.StatusOK, new(any))

	require.Len(t, i.list("").Data, 20, "the default")
	seen := map[message.ID]bool{}
	var sizes []int
	var last message.ID
	for query := "limit=15"; ; {
		page := i.list(query)
		sizes = append(sizes, len(page.Data))
		for _, m := range page.Data {
			require.False(t, seen[m.ID])
			require.True(t, last == message.ID{} || m.ID.String() < last.String(), "newest first")
			seen[m.ID], last = true, m.ID
		}
		if page.NextCursor == nil {
			break
		}
		i.post(hello) // a new message does not shift the pages
		query = "limit=15&cursor=" + url.QueryEscape(*page.NextCursor)
	}
	require.Equal(t, []int{15, 15, 15}, sizes, "a full last page has no next one")
	require.Len(t, seen, 45)
}

func TestFiltersNarrowAList(t *testing.T) {
	t.Parallel()
	i := start(t)
	first := i.post(`{"to":"+905551111111","content":"one","type":"a.b","idempotencyKey":"k 1"}`)
	second := i.post(`{"to":"+905552222222","content":"two"}`)
	i.send(http.MethodPost, messages+"/"+second.ID.String()+"/cancel", "").message(http.StatusOK)

	for query, want := range map[string][]message.ID{
		"status=pending":                             {first.ID},
		"status=Cancelled&status=SENT":               {second.ID},
		"status=PENDING&status=CANCELLED":            {second.ID, first.ID},
		"destination=default":                        {second.ID, first.ID},
		"destination=other":                          {},
		"to=%2B905551111111":                         {first.ID},
		"to=+905551111111":                           {first.ID}, // an unescaped '+'
		"to=" + url.QueryEscape("+90 555 222 22 22"): {second.ID},
		"to=" + url.QueryEscape("\u202a+90\u00a0555\u2011222\u200b22 22\u202c"): {second.ID},
		"to=%E2%80%AA+90%C2%A0555%C2%A0222%C2%A022%C2%A022":                     {second.ID}, // with an unescaped '+'
		"type=a.b":           {first.ID},
		"externalId=x":       {},
		"idempotencyKey=k+1": {first.ID},
		"createdAfter=" + stamp(second.CreatedAt):              {second.ID},
		"createdBefore=" + stamp(second.CreatedAt):             {first.ID},
		"createdAfter=2020-01-01T00:00:00+02:00&type=a.b":      {first.ID},
		"createdBefore=2020-01-01T00:00:00Z":                   {},
		"createdBefore=2020-01-01t00:00:00z":                   {},
		"limit=1":                                              {second.ID},
		"limit=100&status=pending&to=%2B905551111111&type=a.b": {first.ID},
	} {
		got := []message.ID{}
		for _, m := range i.list(query).Data {
			got = append(got, m.ID)
		}
		require.Equal(t, want, got, query)
	}
}

func stamp(at time.Time) string { return url.QueryEscape(at.Format(time.RFC3339Nano)) }

func TestAnInvalidParameterIsNeverIgnored(t *testing.T) {
	t.Parallel()
	i := start(t)
	long := strings.Repeat("x", 257)
	for query, want := range map[string][]string{
		"limit=0":           {"limit out_of_range"},
		"limit=101":         {"limit out_of_range"},
		"limit=-1":          {"limit out_of_range"},
		"limit=1.5":         {"limit out_of_range"},
		"limit=":            {"limit out_of_range"},
		"limit=ten":         {"limit out_of_range"},
		"limit=1&limit=2":   {"limit duplicate_field"},
		"cursor=":           {"cursor invalid_format"},
		"cursor=abc":        {"cursor invalid_format"},
		"cursor=%00":        {"cursor invalid_format"},
		"cursor=" + long:    {"cursor invalid_format"},
		"status=":           {"status invalid_value"},
		"status=gone":       {"status invalid_value"},
		"status=sent,gone":  {"status invalid_value"},
		"destination=":      {"destination blank"},
		"destination=A%20b": {"destination invalid_format"},
		"to=":               {"to blank"},
		"to=%00":            {"to invalid_character"},
		"to=%ff":            {"to invalid_character"},
		"type=" + long:      {"type too_long"},
		"externalId=":       {"externalId blank"},
		"idempotencyKey=":   {"idempotencyKey blank"},
		"createdAfter=now":  {"createdAfter invalid_format"},
		"createdBefore=1":   {"createdBefore invalid_format"},
		"createdAfter=2026-01-02T00:00:00Z&createdBefore=2026-01-01T00:00:00Z": {"createdBefore out_of_range"},
		"stauts=SENT": {"stauts unknown_parameter"},
		"offset=20":   {"offset unknown_parameter"},
		"a=1&limit=0&status=x&cursor=y&to=": {
			"a unknown_parameter", "limit out_of_range", "status invalid_value", "cursor invalid_format", "to blank",
		},
	} {
		p := i.send(http.MethodGet, messages+"?"+query, "").problem(http.StatusBadRequest, "invalid_parameters")
		require.ElementsMatch(t, want, p.invalidFields(), query)
	}
	id := i.post(hello).ID
	for _, path := range []string{messages + "/" + id.String(), messages + "/" + id.String() + "/attempts", statusPath} {
		i.send(http.MethodGet, path+"?limit=1", "").problem(http.StatusBadRequest, "invalid_parameters")
	}
	for _, path := range []string{messages, batches, messages + "/" + id.String() + "/cancel", "/api/v1/messaging/stop"} {
		i.send(http.MethodPost, path+"?force", hello).problem(http.StatusBadRequest, "invalid_parameters")
	}
}

func TestAnInvalidCursorIsRejected(t *testing.T) {
	t.Parallel()
	i := start(t)
	i.send(http.MethodPost, batches, batchOf(2)).into(http.StatusOK, new(any))
	cursor := *i.list("limit=1").NextCursor
	require.Len(t, i.list("cursor="+cursor).Data, 1)
	for n := range cursor { // with a wrong letter the response is a 400 or another page, never a 500
		bent := fmt.Sprintf("%s!%s", cursor[:n], cursor[n+1:])
		i.send(http.MethodGet, messages+"?cursor="+url.QueryEscape(bent), "").problem(http.StatusBadRequest, "invalid_parameters")
	}
}
