package chaos_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/message-dispatcher/dispatch/test/checker"
)

// table is what a run came to, in figures.
func table(seed uint64, duration, settled time.Duration, record checker.Evidence, verdict checker.Verdict) string {
	accepted, unknown, disturbed, answered, ended, excuses := map[string]int{}, 0, map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	for _, op := range record.Ops {
		if op.Accepted.IsZero() {
			unknown++
		} else {
			accepted[op.Via]++
		}
	}
	for _, d := range record.Disturbances {
		disturbed[d.What]++
	}
	disturbed[stop] = len(record.Stops)
	for _, r := range record.Requests {
		answered[fmt.Sprint(r.Status)]++
	}
	for _, row := range record.Rows {
		ended[row.Status]++
	}
	for _, d := range verdict.Duplicates {
		excuses[reason(d)]++
	}

	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	for _, line := range [][2]string{
		{"seed", fmt.Sprint(seed)},
		{"chaos", ms(duration) + ", then settled in " + ms(settled)},
		{"disturbances", list(disturbed)},
		{"accepted", list(accepted) + fmt.Sprintf(", never answered %d, expired before they were in the intake's stream %d", unknown, len(record.Rejected))},
		{"asked by users", list(userRequestCounts(record.UserRequests))},
		{"ended as", list(ended)},
		{"requests by answer", list(answered) + " (0: none)"},
		{"repeated requests", fmt.Sprintf("%d: %s", len(verdict.Duplicates), list(excuses))},
		{"events", fmt.Sprint(len(record.Events))},
		{"promises broken", fmt.Sprint(len(verdict.Findings))},
	} {
		fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
	}
	_ = w.Flush() // into a string
	return text.String()
}

// userRequestCounts counts what users asked for by its answer.
func userRequestCounts(asked []checker.UserRequest) map[string]int {
	counts := map[string]int{}
	for _, a := range asked {
		what := a.Action
		if a.ID == "" {
			what = "bulk retry"
		}
		switch {
		case a.Answered.IsZero():
			counts[what+" not answered"]++
		case a.OK:
			counts[what+" done"]++
		default:
			counts[what+" refused"]++
		}
	}
	return counts
}

// reason is the kind of an excuse.
func reason(d checker.Duplicate) string {
	if d.Excuse == "" {
		return "none"
	}
	if what, _, found := strings.Cut(d.Excuse, " sender-"); found {
		if what == checker.Fault {
			return "link to the webhook"
		}
		return what
	}
	return d.Excuse[:min(len(d.Excuse), 35)]
}

func list(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(parts, ", ")
}
