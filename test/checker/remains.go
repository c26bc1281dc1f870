package checker

import (
	"fmt"
	"maps"
	"slices"
)

// leftovers: outbox, work queue, schedules and intake are empty.
func (j *judge) leftovers() {
	for _, left := range j.Left {
		j.object(LeftOver, left.Where+": "+left.What)
	}
}

// counts: whoever keeps a count by status has what count(*) says.
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
			j.object(Miscounted, fmt.Sprintf("%s says %d %s, count(*) says %d", who, counts[status], status, j.Counted[status]))
		}
	}
}

// copies: the API and Redis say of every message what Postgres says.
func (j *judge) copies() {
	for _, row := range j.Rows {
		j.same(APIDiffers, row, j.API, true)
		if !j.NoRedis {
			j.same(RedisDiffers, row, j.Redis, false)
		}
	}
	for id := range j.API {
		if _, known := j.row[id]; !known {
			j.complain(APIDiffers, id, "it has a message that Postgres does not have")
		}
	}
	for id := range j.Redis {
		if _, known := j.row[id]; !known && !j.NoRedis {
			j.complain(RedisDiffers, id, "it has a message that Postgres does not have")
		}
	}
}

func (j *judge) same(kind string, row Row, copies map[string]Copy, attempts bool) {
	held, there := copies[row.ID]
	switch {
	case !there:
		j.complain(kind, row.ID, "it does not have the message")
	case held.Status != row.Status || held.ExternalID != row.ExternalID:
		j.complain(kind, row.ID, fmt.Sprintf("it says %s %s, Postgres %s %s", held.Status, held.ExternalID, row.Status, row.ExternalID))
	case held.Version != 0 && held.Version != row.Version:
		j.complain(kind, row.ID, fmt.Sprintf("it has version %d, Postgres %d", held.Version, row.Version))
	case attempts && held.Attempts != row.Attempts:
		j.complain(kind, row.ID, fmt.Sprintf("it says %d attempts, Postgres %d", held.Attempts, row.Attempts))
	}
}
