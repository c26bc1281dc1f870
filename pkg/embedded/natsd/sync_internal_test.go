package natsd

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

// A test can't see whether data is on the disk, because the kernel shows its cache.
// It can see that the server is configured to sync.
func TestTheServerIsConfiguredToSync(t *testing.T) {
	t.Parallel()
	for _, always := range []bool{false, true} {
		s, err := Start(Config{Listen: "127.0.0.1:0", Dir: t.TempDir(), SyncAlways: always})
		require.NoError(t, err)
		t.Cleanup(s.Stop)
		varz, err := s.nats.Varz(&server.VarzOptions{})
		require.NoError(t, err)
		require.Equal(t, always, varz.JetStream.Config.SyncAlways)
		require.Equal(t, time.Second, varz.JetStream.Config.SyncInterval)
	}
}
