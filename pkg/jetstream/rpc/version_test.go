package rpc_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/jetstream/rpc"
)

func TestMicroTakesEveryVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"1.2.3": "1.2.3", "v1.2.3-rc.1": "1.2.3-rc.1", "dev": "0.0.0+dev", "0123456789ab+dirty": "0.0.0+0123456789ab.dirty",
		"v0.0.0-20260102-abc+dirty": "0.0.0-20260102-abc+dirty",
	} {
		require.Equal(t, want, rpc.ServiceVersion(version))
	}
}
