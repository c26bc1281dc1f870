package db_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func keyed(key string) func(*message.Message) {
	return func(m *message.Message) { m.IdempotencyKey, m.Scope, m.BodyHash = key, "s", []byte{1} }
}

func TestAnIdempotencyKeyStoresOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, _ := provisioned(t, time.Hour)

	stored, _, err := store.Insert(ctx, []message.Message{draft(keyed("k")), draft(keyed("k")), draft()}, box)
	require.NoError(t, err)
	require.True(t, stored[0].Created)
	require.False(t, stored[1].Created)
	require.Equal(t, stored[0].Message.ID, stored[1].Message.ID)
	require.True(t, stored[2].Created)

	repeat, outboxID, err := store.Insert(ctx, []message.Message{draft(keyed("k"))}, box)
	require.NoError(t, err)
	require.Zero(t, outboxID, "nothing new, nothing to tell")
	require.Equal(t, stored[0].Message.ID, repeat[0].Message.ID)
	require.Equal(t, []byte{1}, repeat[0].Message.BodyHash)
}

func TestARedeliveredIDStoresOnce(t *testing.T) {
	t.Parallel()
	store, _ := provisioned(t, time.Hour)
	m := draft()
	for range 2 {
		stored, _, err := store.Insert(t.Context(), []message.Message{m, m}, box)
		require.NoError(t, err)
		require.Equal(t, m.ID, stored[0].Message.ID)
		require.Equal(t, m.ID, stored[1].Message.ID)
	}
}

func TestGroupsWithCrossingKeysDontWaitForEachOtherForEver(t *testing.T) {
	t.Parallel()
	const keys = 100
	store, _ := provisioned(t, time.Hour)
	var mu sync.Mutex
	firsts := map[string]map[message.ID]bool{}
	created := 0
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			group := make([]message.Message, keys)
			for k := range group {
				group[k] = draft(keyed(fmt.Sprint("key-", k)))
			}
			if i%2 == 1 {
				slices.Reverse(group)
			}
			stored, _, err := store.Insert(t.Context(), group, box)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for k, s := range stored {
				key := group[k].IdempotencyKey
				if firsts[key] == nil {
					firsts[key] = map[message.ID]bool{}
				}
				firsts[key][s.Message.ID] = true
				if s.Created {
					created++
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, keys, created)
	for key, ids := range firsts {
		require.Len(t, ids, 1, key)
	}
}
