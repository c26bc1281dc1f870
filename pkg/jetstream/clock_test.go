package jetstream_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

func TestSkewIsWhatTheWayDoesNotExplain(t *testing.T) {
	t.Parallel()
	asked := time.Now()
	for name, c := range map[string]struct{ told, trip, want time.Duration }{
		"the same":              {5 * time.Millisecond, 10 * time.Millisecond, 0},
		"a slow way":            {900 * time.Millisecond, time.Second, 0},
		"ahead":                 {10 * time.Minute, 0, 10 * time.Minute},
		"behind":                {-10 * time.Minute, 0, -10 * time.Minute},
		"ahead, by a slow way":  {time.Hour + time.Second, 2 * time.Second, time.Hour},
		"behind, by a slow way": {time.Second - time.Hour, 2 * time.Second, -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var skew jetstream.ClockSkew
			skew.Measure(asked, asked.Add(c.told), asked.Add(c.trip))
			require.Equal(t, c.want, skew.Ahead())
			require.Equal(t, asked.Add(c.want), skew.At(asked))
		})
	}
}
