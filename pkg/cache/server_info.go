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

// ServerInfo describes the Redis server, as far as the copy depends on it.
type ServerInfo struct {
	Version        string
	ReadOnly       bool   // a replica, which accepts no writes
	EvictionPolicy string // policy by which it evicts keys when its memory is full; empty if it evicts none
}

// ServerInfo asks Redis for its settings, and checks that this user may read and
// write the copy. It changes nothing. Use Refused to tell an error reply of Redis
// from a connection error.
func (c *Cache) ServerInfo(ctx context.Context) (ServerInfo, error) {
	infos, err := c.info(ctx)
	if err != nil {
		return ServerInfo{}, fmt.Errorf("ask Redis for its settings: %w", err)
	}
	var found ServerInfo
	for _, info := range infos {
		found.Version = info["redis_version"]
		found.ReadOnly = found.ReadOnly || info["role"] == "slave"
		if limit, err := strconv.ParseInt(info["maxmemory"], 10, 64); err == nil && limit > 0 && info["maxmemory_policy"] != "noeviction" {
			found.EvictionPolicy = info["maxmemory_policy"]
		}
	}
	if _, err := c.Progress(ctx); err != nil {
		return found, err
	}
	// An unknown script: a user without the permission gets NOPERM instead of NOSCRIPT.
	err = c.client.EvalSha(ctx, strings.Repeat("0", 40), []string{c.progressKey()}).Err()
	if err != nil && !redis.HasErrorPrefix(err, "NOSCRIPT") {
		return found, fmt.Errorf("run scripts in Redis: %w", err)
	}
	return found, nil
}

// info returns the INFO of Redis; in a cluster, of each primary.
func (c *Cache) info(ctx context.Context) (infos []map[string]string, err error) {
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

// Refused reports whether err is an error reply of Redis, such as a wrong password or
// a command that is not allowed, and not a connection error.
func Refused(err error) bool {
	var answered redis.Error
	return errors.As(err, &answered) && !redis.HasErrorPrefix(err, "LOADING")
}
