package batchconsumer

import (
	"os"
	"strconv"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/natsd"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/dispatcher/component"
)

const patience = time.Minute

// setup is a NATS server with the streams, and a Consumer of CHANGES.
type setup struct {
	t        *testing.T
	address  string
	dir      string
	server   *natsd.Server
	js       *jetstream.Client
	consumer *Consumer
	sent     int
}

func newSetup(t *testing.T, maxCount int) *setup {
	t.Helper()
	s := &setup{t: t, address: embeddedtest.FreeAddr(t), dir: t.TempDir()}
	s.start()
	t.Cleanup(func() { s.server.Stop() })
	js, err := jetstream.Connect(jetstream.Access{URL: "nats://" + s.address}, events.NewTopology("dispatch", 1), "test")
	require.NoError(t, err)
	t.Cleanup(js.Conn().Close)
	s.js = js
	s.awaitConnection()
	require.NoError(t, streams.Provision(t.Context(), js, []string{message.DefaultDestination}))
	s.consumer = New(component.Base{JS: js}, js.ChangesStream(), events.CacheConsumer, maxCount)
	return s
}

func (s *setup) start() {
	s.t.Helper()
	server, err := natsd.Start(natsd.Config{Listen: s.address, Dir: s.dir})
	require.NoError(s.t, err)
	s.server = server
}

func (s *setup) awaitConnection() {
	s.t.Helper()
	require.Eventually(s.t, s.js.Conn().IsConnected, patience, time.Millisecond)
}

// publish publishes n messages, whose bodies are their numbers.
func (s *setup) publish(n int) {
	s.t.Helper()
	for range n {
		s.sent++
		number := strconv.Itoa(s.sent)
		_, err := s.js.Publish(s.t.Context(), s.js.ChangesSubject(), []byte(number), natsjs.WithMsgID(number))
		require.NoError(s.t, err)
	}
}

// next returns the bodies of the next batch, and acknowledges it.
func (s *setup) next() []string {
	s.t.Helper()
	batch, err := s.consumer.Next(s.t.Context())
	require.NoError(s.t, err)
	var bodies []string
	for _, msg := range batch {
		bodies = append(bodies, string(msg.Data()))
		require.NoError(s.t, msg.DoubleAck(s.t.Context()))
	}
	return bodies
}

func TestABatchHasWhatIsThereUpToItsBound(t *testing.T) {
	t.Parallel()
	s := newSetup(t, 3)
	s.publish(5)
	require.Equal(t, []string{"1", "2", "3"}, s.next())
	require.Equal(t, []string{"4", "5"}, s.next())
	require.Empty(t, s.next(), "no message is not an error")
}

func TestALostConnectionIsAnErrorAndTheNextBatchFollowsTheLast(t *testing.T) {
	t.Parallel()
	s := newSetup(t, 3)
	s.publish(2)
	require.Equal(t, []string{"1", "2"}, s.next())
	s.server.Stop()
	require.Eventually(t, func() bool { return !s.js.Conn().IsConnected() }, patience, time.Millisecond)
	_, err := s.consumer.Next(t.Context())
	require.ErrorIs(t, err, jetstream.ErrUnavailable)

	s.start()
	s.awaitConnection()
	s.publish(1)
	require.Equal(t, []string{"3"}, s.next(), "the stream is the same")
}

// A stream that is restored to an earlier state gives its numbers out again. A
// consumer that was ahead would skip the messages that get them.
func TestTheConsumerStartsAgainAfterItsStreamWasRestored(t *testing.T) {
	t.Parallel()
	s := newSetup(t, 10)
	s.publish(2)
	require.Equal(t, []string{"1", "2"}, s.next())
	earlier := t.TempDir()
	s.server.Stop()
	require.NoError(t, os.CopyFS(earlier, os.DirFS(s.dir)))
	s.start()
	s.awaitConnection()
	s.publish(2)
	require.Equal(t, []string{"3", "4"}, s.next())

	s.server.Stop()
	require.NoError(t, os.RemoveAll(s.dir))
	require.NoError(t, os.CopyFS(s.dir, os.DirFS(earlier)))
	s.start()
	s.awaitConnection()
	s.publish(3) // under the numbers 3, 4 and 5

	require.Equal(t, []string{"1", "2", "5", "6", "7"}, s.next(), "all of the last hour come again")
}
