package cache

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Condition is how a Redis is set up, as far as that matters here.
type Condition struct {
	Version  string
	ReadOnly bool   // a replica: it takes no writes
	Evicts   string // the policy by which it drops what it holds when its memory is full; empty if it does not
}

// Condition asks Redis how it is set up, and tries whether this user may read
// and write the copy; it changes nothing. Refused tells an error that Redis
// answered from one of the way to it.
func (c *Cache) Condition(ctx context.Context) (Condition, error) {
	infos, err := c.infos(ctx)
	if err != nil {
		return Condition{}, fmt.Errorf("ask Redis for its settings: %w", err)
	}
	var found Condition
	for _, info := range infos {
		found.Version = info["redis_version"]
		found.ReadOnly = found.ReadOnly || info["role"] == "slave"
		if limit, err := strconv.ParseInt(info["maxmemory"], 10, 64); err == nil && limit > 0 && info["maxmemory_policy"] != "noeviction" {
			found.Evicts = info["maxmemory_policy"]
		}
	}
	if _, err := c.Position(ctx); err != nil {
		return found, err
	}
	// A script that is not there: who may not run any is told so before that.
	err = c.client.EvalSha(ctx, strings.Repeat("0", 40), []string{c.copiedKey()}).Err()
	if err != nil && !redis.HasErrorPrefix(err, "NOSCRIPT") {
		return found, fmt.Errorf("run scripts in Redis: %w", err)
	}
	return found, nil
}

// infos are what Redis says about itself; in a cluster, what each primary does.
func (c *Cache) infos(ctx context.Context) (infos []map[string]string, err error) {
	if c.cluster == nil {
		text, err := c.client.Info(ctx).Result()
		return []map[string]string{fields(text)}, err
	}
	var mu sync.Mutex
	err = c.cluster.ForEachMaster(ctx, func(ctx context.Context, primary *redis.Client) error {
		text, err := primary.Info(ctx).Result()
		mu.Lock()
		defer mu.Unlock()
		infos = append(infos, fields(text))
		return err
	})
	return infos, err
}

// Refused reports whether err is what Redis answered, rather than that it did
// not: a password that it does not take, a command that it does not allow.
func Refused(err error) bool {
	var answered redis.Error
	return errors.As(err, &answered) && !redis.HasErrorPrefix(err, "LOADING")
}
