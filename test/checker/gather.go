package checker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Places are where the end of the story is read. An empty one is left out.
type Places struct {
	Database, NATS, API, Redis string // URLs
	Prefix                     string // of subjects, streams and keys
}

// Gather reads into the record what every place says now, which takes that
// all are up.
func (r *Evidence) Gather(ctx context.Context, at Places) error {
	for _, part := range []struct {
		name, place string
		read        func(context.Context, Places) error
	}{
		{"Postgres", at.Database, r.gatherPostgres},
		{"NATS", at.NATS, r.gatherNATS},
		{"the API", at.API, r.gatherAPI},
		{"Redis", at.Redis, r.gatherRedis},
	} {
		if part.place == "" {
			continue
		}
		if err := part.read(ctx, at); err != nil {
			return fmt.Errorf("read %s: %w", part.name, err)
		}
	}
	return nil
}

var client = &http.Client{Timeout: 30 * time.Second}

func get(ctx context.Context, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d", url, response.StatusCode)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

func (r *Evidence) gatherAPI(ctx context.Context, at Places) error {
	var status struct{ Counts map[string]int64 }
	if err := get(ctx, at.API+"/api/v1/messaging/status", &status); err != nil {
		return err
	}
	r.APICounts, r.API = status.Counts, map[string]View{}
	for cursor := ""; ; {
		var page struct {
			Data []struct {
				ID, Status, ExternalID string
				Attempts               int
			}
			NextCursor *string
		}
		if err := get(ctx, at.API+"/api/v1/messages?limit=100"+cursor, &page); err != nil {
			return err
		}
		for _, m := range page.Data {
			r.API[m.ID] = View{ID: m.ID, Status: m.Status, ExternalID: m.ExternalID, Attempts: m.Attempts}
		}
		if page.NextCursor == nil {
			return nil
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}

func (r *Evidence) gatherRedis(ctx context.Context, at Places) error {
	options, err := redis.ParseURL(at.Redis)
	if err != nil {
		return err
	}
	store := redis.NewClient(options)
	defer store.Close()
	counts, err := store.HGetAll(ctx, at.Prefix+":counts").Result()
	if err != nil {
		return err
	}
	r.RedisCounts, r.Redis = map[string]int64{}, map[string]View{}
	for status, text := range counts {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("count of %s: %w", status, err)
		}
		r.RedisCounts[status] = n
	}
	prefix := at.Prefix + ":message:"
	keys := store.Scan(ctx, 0, prefix+"*", 1000).Iterator()
	for keys.Next(ctx) {
		held, err := store.HGetAll(ctx, keys.Val()).Result()
		if err != nil {
			return err
		}
		id := strings.TrimPrefix(keys.Val(), prefix)
		entry := View{ID: id, Status: held["status"], ExternalID: held["externalId"]}
		if entry.Version, err = strconv.ParseInt(held["version"], 10, 64); err != nil {
			return fmt.Errorf("version of %s: %w", id, err)
		}
		r.Redis[id] = entry
	}
	return keys.Err()
}
