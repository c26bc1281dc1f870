// Package cache writes a copy of every message's state to Redis. Clients can read
// states there without asking Postgres. No service depends on the copy.
//
//	<prefix>:message:<id>  hash: status, externalId, sentAt, version; expires 24 h after a final state
//	<prefix>:counts        hash: number of messages by status
//	<prefix>:copied        hash: progress of the copy; without it the copy is incomplete
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

// FinalStateTTL is how long a message's state stays in Redis after it became final.
const FinalStateTTL = 24 * time.Hour

// ErrIncomplete means that Redis has lost data, or that another projector has begun a
// new copy. Nothing of the call counts.
var ErrIncomplete = errors.New("Redis does not hold the copy that was begun")

// Progress is how far the copy has come.
type Progress struct {
	Epoch    string // new for each copy that begins; empty if there is no copy
	Sequence uint64 // last change notification on CHANGES that is copied
	// History identifies the history of Postgres that is copied. A copy of another
	// history may hold states that Postgres has lost.
	History int64
}

// Cache is a client of Redis. It is safe for concurrent use.
type Cache struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // same as client if Redis is a cluster, else nil
	prefix  string
}

// Close closes the connections.
func (c *Cache) Close() error { return c.client.Close() }

// Ping returns an error unless Redis responds.
func (c *Cache) Ping(ctx context.Context) error {
	if err := c.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping Redis: %w", err)
	}
	return nil
}

func (c *Cache) messageKey(id message.ID) string { return c.prefix + ":message:" + id.String() }
func (c *Cache) countsKey() string               { return c.prefix + ":counts" }
func (c *Cache) progressKey() string             { return c.prefix + ":copied" }

// putStates stores the states that are newer than the stored ones.
// KEYS: messages. ARGV: 1 to also store messages that Redis does not hold, then for
// each message: version, status, externalId, sentAt, expiry (Unix ms; 0: never).
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

// putProgress runs last and reports whether the states before it count.
// KEYS: the progress. ARGV: epoch, sequence.
var putProgress = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return 0
end
if tonumber(redis.call('HGET', KEYS[1], 'sequence') or '0') < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'sequence', ARGV[2])
end
return 1
`)

// Put stores states, and that all changes up to a progress are copied with them. A
// state that is not newer than the stored one is ignored. Put returns ErrIncomplete
// if Redis holds no copy with that epoch (any more).
func (c *Cache) Put(ctx context.Context, states []message.Snapshot, upTo Progress) error {
	err := c.withScripts(ctx, func() error { return c.put(ctx, states, upTo) })
	if err != nil {
		return fmt.Errorf("copy %d states: %w", len(states), err)
	}
	return nil
}

// withScripts runs a function that needs the scripts. If Redis does not have them,
// it loads them and runs the function again.
func (c *Cache) withScripts(ctx context.Context, run func() error) error {
	err := run()
	if !redis.HasErrorPrefix(err, "NOSCRIPT") {
		return err
	}
	for _, script := range []*redis.Script{putStates, putProgress} {
		if err := script.Load(ctx, c.client).Err(); err != nil {
			return fmt.Errorf("load script: %w", err)
		}
	}
	return run()
}

func (c *Cache) put(ctx context.Context, states []message.Snapshot, upTo Progress) error {
	keys, err := c.progressKeys(ctx)
	if err != nil {
		return err
	}
	pipe := c.client.Pipeline()
	c.putAll(ctx, pipe, states, true)
	if c.cluster != nil { // nodes run independently: the states must be stored before the progress
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		pipe = c.client.Pipeline()
	}
	results := make([]*redis.Cmd, len(keys))
	for i, key := range keys {
		results[i] = putProgress.EvalSha(ctx, pipe, []string{key}, upTo.Epoch, upTo.Sequence)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for _, result := range results {
		if n, err := result.Int(); err != nil || n != 1 {
			return errors.Join(ErrIncomplete, err)
		}
	}
	return nil
}

// maxStatesPerCall limits the states in one call. Redis serves no other client
// during a call.
const maxStatesPerCall = 100

// putAll adds the calls that store states to a pipeline. With unheld, messages that
// Redis does not hold are stored too.
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
			var expires int64
			if s.Status.Final() {
				expires = s.UpdatedAt.Add(FinalStateTTL).UnixMilli()
			}
			args = append(args, s.Version, string(s.Status), s.ExternalID, sentAt, expires)
		}
		putStates.EvalSha(ctx, pipe, keys, args...)
	}
}

// Refresh stores newer states only for messages that Redis holds. It leaves the
// progress unchanged. It therefore restores no message that was erased meanwhile.
// It may run concurrently with Put.
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

// Delete removes states and returns how many existed.
func (c *Cache) Delete(ctx context.Context, ids []message.ID) (int64, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = c.messageKey(id)
	}
	n, err := c.unlink(ctx, keys)
	if err != nil {
		return 0, fmt.Errorf("delete %d states: %w", len(ids), err)
	}
	return n, nil
}

// PutCounts stores the number of messages by status.
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
