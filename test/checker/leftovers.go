package checker

import (
	"fmt"
	"maps"
	"slices"
)

// leftovers: outbox, work queue, schedules and intake are empty.
func (j *judge) leftovers() {
	for _, left := range j.Leftovers {
		j.reportGlobal(LeftOver, left.Where+": "+left.What)
	}
}

// counts: every place that keeps a count by status has what count(*) says.
func (j *judge) counts() {
	j.count("status_counts", j.Kept)
	j.count("the API", j.APICounts)
	if !j.NoRedis {
		j.count("Redis", j.RedisCounts)
	}
}

func (j *judge) count(who string, counts map[string]int64) {
	statuses := maps.Clone(j.Counted)
	if statuses == nil {
		statuses = map[string]int64{}
	}
	for status := range counts {
		statuses[status] += 0
	}
	for _, status := range slices.Sorted(maps.Keys(statuses)) {
		if counts[status] != j.Counted[status] {
			j.reportGlobal(Miscounted, fmt.Sprintf("%s says %d %s, count(*) says %d", who, counts[status], status, j.Counted[status]))
		}
	}
}

// views: the API and Redis say of every message what Postgres says.
func (j *judge) views() {
	for _, row := range j.Rows {
		j.sameAs(APIDiffers, row, j.API, true)
		if !j.NoRedis {
			j.sameAs(RedisDiffers, row, j.Redis, false)
		}
	}
	for id := range j.API {
		if _, known := j.row[id]; !known {
			j.report(APIDiffers, id, "it has a message that Postgres does not have")
		}
	}
	for id := range j.Redis {
		if _, known := j.row[id]; !known && !j.NoRedis {
			j.report(RedisDiffers, id, "it has a message that Postgres does not have")
		}
	}
}

func (j *judge) sameAs(kind string, row Row, copies map[string]View, attempts bool) {
	held, there := copies[row.ID]
	switch {
	case !there:
		j.report(kind, row.ID, "it does not have the message")
	case held.Status != row.Status || held.ExternalID != row.ExternalID:
		j.report(kind, row.ID, fmt.Sprintf("it says %s %s, Postgres %s %s", held.Status, held.ExternalID, row.Status, row.ExternalID))
	case held.Version != 0 && held.Version != row.Version:
		j.report(kind, row.ID, fmt.Sprintf("it has version %d, Postgres %d", held.Version, row.Version))
	case attempts && held.Attempts != row.Attempts:
		j.report(kind, row.ID, fmt.Sprintf("it says %d attempts, Postgres %d", held.Attempts, row.Attempts))
	}
}
