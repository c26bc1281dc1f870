package events_test

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestTheTopologyIsAsReviewed shows every change of a stream, a consumer or a
// subject in the diff of a file: all of them are public.
func TestTheTopologyIsAsReviewed(t *testing.T) {
	t.Parallel()
	topology := events.NewTopology("dispatch", 3)
	id, err := message.ParseID("0197b0de-7b1a-7abc-8def-0123456789ab")
	require.NoError(t, err)
	subjects := map[string]string{
		"intake":   topology.IntakeSubject("default"),
		"rejected": topology.RejectedSubject("default"),
		"deliver":  topology.DeliverSubject("default", id),
		"park":     topology.RetrySubject("default", id),
		"control":  topology.ControlSubject("stop"),
		"messages": topology.MessagesSubject("create"),
	}
	for _, kind := range message.EventTypes() {
		subjects["event "+string(kind)] = topology.EventSubject(kind, "default")
	}
	compare(t, "testdata/topology.json", map[string]any{
		"streams":   topology.Streams(),
		"consumers": topology.Consumers([]string{"default"}),
		"subjects":  subjects,
	})
}

// TestTheDefaultSizesFitAnAccountOf5GB: a managed account counts each copy of a
// stream, and often demands that every stream has a size.
func TestTheDefaultSizesFitAnAccountOf5GB(t *testing.T) {
	t.Parallel()
	var all int64
	for _, stream := range events.NewTopology("dispatch", 3).Streams() {
		require.Positive(t, stream.MaxBytes, stream.Name)
		all += stream.MaxBytes * int64(stream.Replicas)
	}
	require.Less(t, all, int64(4e9))
}

func TestAPrefixKeepsInstallationsApart(t *testing.T) {
	t.Parallel()
	topology := events.NewTopology("acme", 1)
	for _, stream := range topology.Streams() {
		require.Regexp(t, `^ACME_`, stream.Name)
		for _, subject := range stream.Subjects {
			require.Regexp(t, `^acme\.`, subject)
		}
	}
	require.Equal(t, "orders", topology.IntakeDestination(topology.IntakeSubject("orders")))
}

func compare(t *testing.T, golden string, value any) {
	t.Helper()
	got, err := json.MarshalIndent(value, "", "  ")
	require.NoError(t, err)
	got = append(got, '\n')
	if *update {
		require.NoError(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "run the test with -update and review the difference")
}
