// Package cache is what Redis holds: a copy of every message's state, for
// whoever wants to know it without asking Postgres. Nothing depends on it.
//
//	<prefix>:message:<id>  hash: status, externalId, sentAt, version; gone 24 h after a final state
//	<prefix>:counts        hash: how many messages there are by status
//	<prefix>:copied        hash: how far the copy is; without it the copy is not complete
package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Kept is how long a message's state is kept after it became final.
const Kept = 24 * time.Hour

// ErrIncomplete means that Redis lost what was copied before, or that another
// copier has begun anew: nothing of the call counts.
var ErrIncomplete = errors.New("Redis does not hold the copy that was begun")

// Position is how far the copy is.
type Position struct {
	Epoch    string // a new one with each beginning; empty when there is no copy
	Sequence uint64 // the last note on CHANGES that is copied
	// History is of which history of Postgres it is a copy. A copy of another
	// one may hold states that Postgres has lost.
	History int64
}

// Cache is a connection to Redis. It is safe for concurrent use.
type Cache struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // client, if Redis is a cluster
	prefix  string
}

// Close ends the connection.
func (c *Cache) Close() error { return c.client.Close() }

// Ping returns an error unless Redis answers.
func (c *Cache) Ping(ctx context.Context) error {
	if err := c.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping Redis: %w", err)
	}
	return nil
}

func (c *Cache) messageKey(id message.ID) string { return c.prefix + ":message:" + id.String() }
func (c *Cache) countsKey() string               { return c.prefix + ":counts" }
func (c *Cache) copiedKey() string               { return c.prefix + ":copied" }

// putStates takes states that are newer than what is held.
// KEYS: messages. ARGV: 1 to take also those that are not held, then for each
// message: version, status, externalId, sentAt, when it goes (Unix ms; 0: never).
var putStates = redis.NewScript(`
for i, key in ipairs(KEYS) do
  local a = 5 * i - 3
  local held = redis.call('HGET', key, 'version')
  if (held and tonumber(held) < tonumber(ARGV[a])) or (not held and ARGV[1] == '1') then
    local fields = {'version', ARGV[a], 'status', ARGV[a + 1]}
    if ARGV[a + 2] ~= '' then
      table.insert(fields, 'externalId')
      table.insert(fields, ARGV[a + 2])
    end
    if ARGV[a + 3] ~= '' then
      table.insert(fields, 'sentAt')
      table.insert(fields, ARGV[a + 3])
    end
    redis.call('HSET', key, unpack(fields))
    if ARGV[a + 4] ~= '0' then
      redis.call('PEXPIREAT', key, ARGV[a + 4])
    elseif held then
      redis.call('PERSIST', key)
    end
  end
end
return #KEYS
`)

// putPosition comes last and says whether everything before it counts.
// KEYS: the position. ARGV: epoch, sequence.
var putPosition = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return 0
end
if tonumber(redis.call('HGET', KEYS[1], 'note') or '0') < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'note', ARGV[2])
end
return 1
`)

// Put copies states, and keeps that all changes up to a position are copied
// with them. A state that is not newer than the one in Redis changes nothing.
// It returns ErrIncomplete when the epoch is not, or no longer, Redis'.
func (c *Cache) Put(ctx context.Context, states []message.Snapshot, upTo Position) error {
	err := c.withScripts(ctx, func() error { return c.put(ctx, states, upTo) })
	if err != nil {
		return fmt.Errorf("copy %d states: %w", len(states), err)
	}
	return nil
}

// withScripts runs what uses the scripts, and loads them if Redis lacks them.
func (c *Cache) withScripts(ctx context.Context, run func() error) error {
	err := run()
	if !redis.HasErrorPrefix(err, "NOSCRIPT") {
		return err
	}
	for _, script := range []*redis.Script{putStates, putPosition} {
		if err := script.Load(ctx, c.client).Err(); err != nil {
			return fmt.Errorf("load script: %w", err)
		}
	}
	return run()
}

func (c *Cache) put(ctx context.Context, states []message.Snapshot, upTo Position) error {
	keys, err := c.positionKeys(ctx)
	if err != nil {
		return err
	}
	pipe := c.client.Pipeline()
	c.putAll(ctx, pipe, states, true)
	if c.cluster != nil { // whose nodes don't wait for each other
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		pipe = c.client.Pipeline()
	}
	taken := make([]*redis.Cmd, len(keys))
	for i, key := range keys {
		taken[i] = putPosition.EvalSha(ctx, pipe, []string{key}, upTo.Epoch, upTo.Sequence)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for _, t := range taken {
		if n, err := t.Int(); err != nil || n != 1 {
			return errors.Join(ErrIncomplete, err)
		}
	}
	return nil
}

// putAtOnce is how many states go into one call: Redis answers nobody else
// meanwhile.
const putAtOnce = 100

// putAll adds the calls for states to a pipeline; with unheld, also messages
// get one that have none.
func (c *Cache) putAll(ctx context.Context, pipe redis.Pipeliner, states []message.Snapshot, unheld bool) {
	for some := range slices.Chunk(states, c.statesPerCall()) {
		keys := make([]string, len(some))
		args := make([]any, 1, 1+5*len(some))
		args[0] = unheld
		for i, s := range some {
			keys[i] = c.messageKey(s.ID)
			var sentAt string
			if s.SentAt != nil {
				sentAt = s.SentAt.UTC().Format(time.RFC3339Nano)
			}
			var goes int64
			if s.Status.Final() {
				goes = s.UpdatedAt.Add(Kept).UnixMilli()
			}
			args = append(args, s.Version, string(s.Status), s.ExternalID, sentAt, goes)
		}
		putStates.EvalSha(ctx, pipe, keys, args...)
	}
}

// Refresh is Put beside the copier: only messages that are held get their
// newer state, and the position stays. So it brings back nothing that was
// erased meanwhile.
func (c *Cache) Refresh(ctx context.Context, states []message.Snapshot) error {
	err := c.withScripts(ctx, func() error {
		pipe := c.client.Pipeline()
		c.putAll(ctx, pipe, states, false)
		_, err := pipe.Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("refresh %d states: %w", len(states), err)
	}
	return nil
}

// Forget removes states. It returns how many there were.
func (c *Cache) Forget(ctx context.Context, ids []message.ID) (int64, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = c.messageKey(id)
	}
	n, err := c.forget(ctx, keys)
	if err != nil {
		return 0, fmt.Errorf("forget %d states: %w", len(ids), err)
	}
	return n, nil
}

// PutCounts copies how many messages there are by status.
func (c *Cache) PutCounts(ctx context.Context, counts map[message.Status]int64) error {
	fields := make(map[string]any, len(counts))
	for status, n := range counts {
		fields[string(status)] = n
	}
	if err := c.client.HSet(ctx, c.countsKey(), fields).Err(); err != nil {
		return fmt.Errorf("copy counts: %w", err)
	}
	return nil
}
