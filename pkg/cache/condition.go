package cache

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

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
	text, err := c.client.Info(ctx).Result()
	if err != nil {
		return Condition{}, fmt.Errorf("ask Redis for its settings: %w", err)
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[name] = value
	}
	found := Condition{Version: info["redis_version"], ReadOnly: info["role"] == "slave"}
	if limit, err := strconv.ParseInt(info["maxmemory"], 10, 64); err == nil && limit > 0 && info["maxmemory_policy"] != "noeviction" {
		found.Evicts = info["maxmemory_policy"]
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

// Refused reports whether err is what Redis answered, rather than that it did
// not: a password that it does not take, a command that it does not allow.
func Refused(err error) bool {
	var answered redis.Error
	return errors.As(err, &answered) && !redis.HasErrorPrefix(err, "LOADING")
}
