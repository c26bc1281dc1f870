package cache

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"
)

// slots is the number of hash slots of a cluster.
const slots = 16384

// progressKeys returns the keys that hold the progress: one, or one on each primary
// of a cluster. A primary that lost its data lost its progress too; a single key
// would not show the losses of the other primaries.
func (c *Cache) progressKeys(ctx context.Context) ([]string, error) {
	if c.cluster == nil {
		return []string{c.progressKey()}, nil
	}
	ranges, err := c.cluster.ClusterSlots(ctx).Result() //nolint:staticcheck // CLUSTER SHARDS is there only since 7.0
	if err != nil {
		return nil, fmt.Errorf("ask for the slots of the cluster: %w", err)
	}
	first := map[string]int{}
	for _, r := range ranges {
		if len(r.Nodes) == 0 {
			return nil, fmt.Errorf("the slots from %d on have no node: %w", r.Start, ErrIncomplete)
		}
		primary := r.Nodes[0].Addr
		if slot, known := first[primary]; !known || r.Start < slot {
			first[primary] = r.Start
		}
	}
	keys := make([]string, 0, len(first))
	for _, slot := range first {
		keys = append(keys, c.progressKey()+":{"+tags()[slot]+"}")
	}
	slices.Sort(keys)
	return keys, nil
}

// tags holds a hash tag for each slot.
var tags = sync.OnceValue(func() []string {
	found := make([]string, slots)
	for i, left := 0, slots; left > 0; i++ {
		tag := strconv.FormatInt(int64(i), 36)
		if slot := crc16(tag) % slots; found[slot] == "" {
			found[slot] = tag
			left--
		}
	}
	return found
})

// crc16 is the checksum from which a cluster computes a key's slot (XMODEM).
func crc16(text string) (crc uint16) {
	for i := range len(text) {
		crc ^= uint16(text[i]) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			crc <<= 1
			if carry {
				crc ^= 0x1021
			}
		}
	}
	return crc
}

// statesPerCall returns how many messages one call may contain. In a cluster each
// message may be on another node.
func (c *Cache) statesPerCall() int {
	if c.cluster != nil {
		return 1
	}
	return maxStatesPerCall
}

// unlink removes keys and returns how many existed.
func (c *Cache) unlink(ctx context.Context, keys []string) (int64, error) {
	if c.cluster == nil {
		return c.client.Unlink(ctx, keys...).Result()
	}
	removed := make([]*redis.IntCmd, len(keys))
	_, err := c.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, key := range keys {
			removed[i] = pipe.Unlink(ctx, key)
		}
		return nil
	})
	var n int64
	for _, r := range removed {
		n += r.Val()
	}
	return n, err
}
