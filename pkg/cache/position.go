package cache

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Position tells how far the copy is.
func (c *Cache) Position(ctx context.Context) (Position, error) {
	keys, err := c.positionKeys(ctx)
	if err != nil {
		return Position{}, fmt.Errorf("read position of the copy: %w", err)
	}
	var whole Position
	for i, key := range keys {
		held, err := c.client.HGetAll(ctx, key).Result()
		if err != nil {
			return Position{}, fmt.Errorf("read position of the copy: %w", err)
		}
		sequence, err := strconv.ParseUint(held["note"], 10, 64)
		history, _ := strconv.ParseInt(held["history"], 10, 64) // an older release has none: the first
		switch {
		case err != nil, i > 0 && (held["epoch"] != whole.Epoch || history != whole.History):
			return Position{}, nil //nolint:nilerr // nobody can tell, so there is none
		case i == 0 || sequence < whole.Sequence:
			whole = Position{Epoch: held["epoch"], Sequence: sequence, History: history}
		}
	}
	return whole, nil
}

// Clear removes every state. A newer state is never replaced by an older one,
// and Postgres may have been put back to older ones.
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
	states := on.Scan(ctx, 0, c.prefix+":message:*", clearAtOnce).Iterator()
	var keys []string
	for states.Next(ctx) {
		if keys = append(keys, states.Val()); len(keys) == clearAtOnce {
			if _, err := c.forget(ctx, keys); err != nil {
				return err
			}
			keys = keys[:0]
		}
	}
	if states.Err() != nil || len(keys) == 0 {
		return states.Err()
	}
	_, err := c.forget(ctx, keys)
	return err
}

// clearAtOnce is how many keys one call of Clear looks at, or removes.
const clearAtOnce = 1000

// Begin starts a new copy of a history of Postgres. What an earlier one has
// left stays until newer states replace it.
func (c *Cache) Begin(ctx context.Context, epoch string, history int64) error {
	keys, err := c.positionKeys(ctx)
	for _, key := range keys {
		if err == nil {
			err = c.client.HSet(ctx, key, "epoch", epoch, "note", 0, "history", history).Err()
		}
	}
	if err != nil {
		return fmt.Errorf("begin copy: %w", err)
	}
	return nil
}
