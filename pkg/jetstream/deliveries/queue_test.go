package deliveries_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/jetstream/deliveries"
)

func TestTheQueueIsFullForUsLongBeforeItIsForTheServer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		bytes, limit    uint64
		full, overflows bool
	}{
		{49, 100, false, false}, {50, 100, true, false}, {87, 100, true, false}, {88, 100, true, true}, {1 << 40, 0, false, false},
	} {
		filling := deliveries.Filling{Bytes: test.bytes, Limit: test.limit}
		require.Equal(t, test.full, filling.Full(), test)
		require.Equal(t, test.overflows, filling.Overflows(), test)
	}
}
