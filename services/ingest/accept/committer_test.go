package accept

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest/metrics"
	"github.com/message-dispatcher/dispatch/services/ingest/outbox"
)

// spy stores in a real Postgres and remembers the sizes of the groups. Its
// transactions wait until the gate is open.
type spy struct {
	inserter
	gate   chan struct{} // nil: open
	waits  chan struct{} // receives for each transaction that waits
	before func(group []message.Message) error

	mu    sync.Mutex
	sizes []int
}

func (s *spy) Insert(ctx context.Context, group []message.Message, encode db.EncodeOutbox) ([]db.InsertResult, int64, error) {
	s.mu.Lock()
	s.sizes = append(s.sizes, len(group))
	s.mu.Unlock()
	if s.gate != nil {
		s.waits <- struct{}{}
		<-s.gate
	}
	if s.before != nil {
		if err := s.before(group); err != nil {
			return nil, 0, err
		}
	}
	return s.inserter.Insert(ctx, group, encode)
}

// startCommitter runs a committer with a real Postgres. stop ends it.
func startCommitter(t *testing.T, s *spy) (commit *Committer, stop func()) {
	t.Helper()
	s.inserter = db.NewStore(dbtest.Pool(t))
	counts := metrics.New(service.NewMetrics())
	commit = NewCommitter(CommitterConfig{
		Store: s, Builder: events.NewEventBuilder(events.NewTopology("dispatch", 1), false),
		Outbox: outbox.NewPublisher(nil, nil, counts.Relayed, zap.NewNop()), Metrics: counts, Log: zap.NewNop(), // nothing is published
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = commit.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(stop)
	return commit, stop
}

func draftMessage(content string) message.Message {
	return message.Message{
		ID: message.NewID(time.Now()), To: "+905551111111", Content: content,
		Destination: message.DefaultDestination, Priority: message.DefaultPriority,
	}
}

func draftMessages(n int) []message.Message {
	all := make([]message.Message, n)
	for i := range all {
		all[i] = draftMessage(fmt.Sprintf("message %d", i))
	}
	return all
}

func TestMessagesThatArriveDuringATransactionAreStoredTogether(t *testing.T) {
	t.Parallel()
	s := &spy{gate: make(chan struct{}), waits: make(chan struct{}, 100)}
	commit, _ := startCommitter(t, s)

	var storing sync.WaitGroup
	store := func() {
		storing.Go(func() { commit.submit(context.Background(), draftMessages(1)) })
	}
	for range workers { // each one starts a transaction at once
		store()
		<-s.waits
	}
	for range 100 {
		store()
	}
	require.Eventually(t, func() bool { return commit.queuedMessages.Load() == 100 }, time.Minute, time.Millisecond)
	close(s.gate)
	storing.Wait()
	require.Equal(t, append(slices.Repeat([]int{1}, workers), 100), s.sizes)
}

func TestOnlyTheMessageThatCausesAnErrorFails(t *testing.T) {
	t.Parallel()
	s := &spy{}
	commit, _ := startCommitter(t, s)
	group := draftMessages(64)
	group[37].Content = "a NUL \x00 that Postgres refuses"
	for i, r := range commit.submit(t.Context(), group) {
		if i == 37 {
			var refused *pgconn.PgError
			require.ErrorAs(t, r.err, &refused)
			require.Equal(t, message.ProblemInternal, db.ProblemOf(r.err).Code)
			require.NotContains(t, db.ProblemOf(r.err).Detail, refused.Message, "SQL must not be shown")
			continue
		}
		require.NoError(t, r.err)
		require.True(t, r.inserted.Created)
		require.Equal(t, group[i].ID, r.inserted.Message.ID)
	}
	require.LessOrEqual(t, len(s.sizes), 13, "halving, not one by one")
}

func TestACallerThatLeavesDoesNotAffectOthers(t *testing.T) {
	t.Parallel()
	s := &spy{gate: make(chan struct{}), waits: make(chan struct{}, 100)}
	commit, stop := startCommitter(t, s)
	ctx, leave := context.WithCancel(context.Background())
	left := make(chan []storeResult)
	group := draftMessages(2)
	go func() { left <- commit.submit(ctx, group) }()
	<-s.waits
	leave()
	for _, r := range <-left {
		require.ErrorIs(t, r.err, ErrTimeout)
	}
	close(s.gate)
	stop()
	_, err := s.inserter.(*db.Store).Get(t.Context(), group[1].ID)
	require.NoError(t, err, "it was stored all the same")
}

// The connection breaks before the commit is confirmed.
func TestATransactionWithUnknownResultIsRepeated(t *testing.T) {
	t.Parallel()
	s := &spy{}
	commit, _ := startCommitter(t, s)
	group := draftMessages(3)
	first := true
	s.before = func(group []message.Message) error {
		if !first {
			return nil
		}
		first = false
		_, _, err := s.inserter.Insert(t.Context(), group, func([]message.Message) []byte { return nil })
		return errors.Join(err, errors.New("connection reset"))
	}
	for i, r := range commit.submit(t.Context(), group) {
		require.NoError(t, r.err)
		require.True(t, r.inserted.Created, "it is this caller's")
		require.Equal(t, group[i].ID, r.inserted.Message.ID)
	}
}

func TestAFullQueueRefuses(t *testing.T) {
	t.Parallel()
	s := &spy{gate: make(chan struct{}), waits: make(chan struct{}, 100)}
	commit, stop := startCommitter(t, s)
	var storing sync.WaitGroup
	for range workers {
		storing.Go(func() { commit.submit(context.Background(), draftMessages(1)) })
		<-s.waits
	}
	large := draftMessage("")
	large.Payload = []byte(`"` + strings.Repeat("x", 8<<20) + `"`)
	for range maxQueuedBytes/(8<<20) - 1 {
		storing.Go(func() { commit.submit(context.Background(), []message.Message{large}) })
	}
	require.Eventually(t, func() bool { return commit.queuedMessages.Load() == maxQueuedBytes/(8<<20)-1 }, time.Minute, time.Millisecond)
	refused := commit.submit(t.Context(), []message.Message{large})
	require.ErrorIs(t, refused[0].err, ErrOverloaded)
	require.Equal(t, 429, db.ProblemOf(refused[0].err).Status)
	close(s.gate)
	storing.Wait()
	stop()
	require.Zero(t, commit.queuedMessages.Load())
	require.Zero(t, commit.queuedBytes.Load())
}

func TestADrainStoresWhatIsQueued(t *testing.T) {
	t.Parallel()
	s := &spy{}
	commit, stop := startCommitter(t, s)
	var storing sync.WaitGroup
	for range 20 {
		storing.Go(func() {
			for _, r := range commit.submit(context.Background(), draftMessages(50)) {
				if r.err != nil {
					t.Error(r.err)
				}
			}
		})
	}
	storing.Wait()
	stop()
	found, err := s.inserter.(*db.Store).List(t.Context(), db.Filter{Limit: 2000})
	require.NoError(t, err)
	require.Len(t, found, 1000)
}
