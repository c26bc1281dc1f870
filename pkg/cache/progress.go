package cache

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Progress returns how far the copy has come: in a cluster, the least progress of
// the primaries. It is empty if there is no complete copy.
func (c *Cache) Progress(ctx context.Context) (Progress, error) {
	keys, err := c.progressKeys(ctx)
	if err != nil {
		return Progress{}, fmt.Errorf("read progress of the copy: %w", err)
	}
	var least Progress
	for i, key := range keys {
		held, err := c.client.HGetAll(ctx, key).Result()
		if err != nil {
			return Progress{}, fmt.Errorf("read progress of the copy: %w", err)
		}
		sequence, err := strconv.ParseUint(held["sequence"], 10, 64)
		history, _ := strconv.ParseInt(held["history"], 10, 64) // missing means 0, the first history
		switch {
		case err != nil, i > 0 && (held["epoch"] != least.Epoch || history != least.History):
			return Progress{}, nil //nolint:nilerr // the progress is unknown, so there is no copy
		case i == 0 || sequence < least.Sequence:
			least = Progress{Epoch: held["epoch"], Sequence: sequence, History: history}
		}
	}
	return least, nil
}

// Clear removes every state. It is needed after Postgres was restored to older
// states, because Put never replaces a newer state by an older one.
func (c *Cache) Clear(ctx context.Context) error {
	var err error
	if c.cluster != nil {
		err = c.cluster.ForEachMaster(ctx, func(ctx context.Context, primary *redis.Client) error { return c.clear(ctx, primary) })
	} else {
		err = c.clear(ctx, c.client)
	}
	if err != nil {
		return fmt.Errorf("clear states: %w", err)
	}
	return nil
}

// clear removes the states that one server holds.
func (c *Cache) clear(ctx context.Context, on redis.Cmdable) error {
	states := on.Scan(ctx, 0, c.prefix+":message:*", clearBatch).Iterator()
	var keys []string
	for states.Next(ctx) {
		if keys = append(keys, states.Val()); len(keys) == clearBatch {
			if _, err := c.unlink(ctx, keys); err != nil {
				return err
			}
			keys = keys[:0]
		}
	}
	if states.Err() != nil || len(keys) == 0 {
		return states.Err()
	}
	_, err := c.unlink(ctx, keys)
	return err
}

// clearBatch is the number of keys that one call of Clear reads or removes.
const clearBatch = 1000

// Begin starts a new copy of a history of Postgres. States of an earlier copy stay
// until newer states replace them.
func (c *Cache) Begin(ctx context.Context, epoch string, history int64) error {
	keys, err := c.progressKeys(ctx)
	for _, key := range keys {
		if err == nil {
			err = c.client.HSet(ctx, key, "epoch", epoch, "sequence", 0, "history", history).Err()
		}
	}
	if err != nil {
		return fmt.Errorf("begin copy: %w", err)
	}
	return nil
}
