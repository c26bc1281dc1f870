package chaos_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/test/checker"
)

// clients hand in messages at a steady rate, by every road, and repeat under
// the same key what is not answered, as a good client would. Some call
// messages back, or bring them back.
type clients struct {
	history *checker.History
	apis    []string // of the ingests
	js      natsjs.JetStream
	http    *http.Client
	draw    uint64 // of it follow what is handed in and asked for, and when it is due
	plain   bool   // single messages alone, due at once
}

const (
	tries     = 5
	tryWithin = 3 * time.Second
)

func newClients(book *checker.History, apis []string, natsURL string) (*clients, error) {
	conn, err := nats.Connect(natsURL, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectWait(250*time.Millisecond))
	if err != nil {
		return nil, err
	}
	js, err := natsjs.New(conn)
	if err != nil {
		return nil, err
	}
	return &clients{history: book, apis: apis, js: js, http: &http.Client{Timeout: tryWithin}}, nil
}

// run does something every so often, until ctx ends, and then waits for the
// answers to the last requests.
func (c *clients) run(ctx context.Context, every time.Duration) {
	var underWay sync.WaitGroup
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			underWay.Wait()
			c.js.Conn().Close()
			return
		case <-tick.C:
			random := rand.New(rand.NewPCG(c.draw, uint64(n)))
			underWay.Go(func() { c.act(ctx, n, random) })
		}
	}
}

// act is one client's visit.
func (c *clients) act(ctx context.Context, n int, random *rand.Rand) {
	if c.plain {
		c.handIn(single(n, random), c.transports()[[]string{"http", "nats"}[n%2]])
		return
	}
	switch p := random.IntN(100); {
	case p < 30:
		c.single(ctx, "http", n, random)
	case p < 50:
		c.single(ctx, "nats", n, random)
	case p < 64:
		c.single(ctx, "request", n, random)
	case p < 70:
		c.handIn(several("batch", n, random), c.batch)
	case p < 76:
		c.handIn(several("lines", n, random), c.lines)
	case p < 86:
		c.cancelOne(random)
	case p < 96:
		c.redriveOne(random)
	case p < 97 && random.IntN(3) == 0: // more of these, and nothing would stay ended
		c.redriveMany(random)
	default:
		c.replace(random)
	}
}

// single hands in one message. Some clients forget that it was accepted, and
// some have second thoughts.
func (c *clients) single(ctx context.Context, via string, n int, random *rand.Rand) {
	road, again := c.transports()[via], random.IntN(10) == 0
	drafts := []draft{newDraft(via, n, 0, random)}
	c.handIn(drafts, road)
	id := c.history.ID(drafts[0].key)
	if d := drafts[0]; id != "" && !d.deliverAt.IsZero() && random.IntN(2) == 0 {
		c.cancel(id, random)
	}
	if again && pause(ctx, time.Duration(random.Int64N(int64(5*time.Second)))) {
		c.handIn(drafts, road)
	}
}

// handIn tries until all are answered, or there is no point any more.
func (c *clients) handIn(drafts []draft, road transport) {
	for _, d := range drafts {
		c.history.InvokeOp(checker.Op{Key: d.key, Via: d.via, DeliverAt: d.deliverAt, ExpiresAt: d.expiresAt})
	}
	for i := range tries {
		answers := road(drafts, i)
		var open []draft
		for n, d := range drafts {
			switch answers[n].result {
			case accepted:
				c.history.Accept(d.key, answers[n].id)
			case refused:
				c.history.Refuse(d.key)
			default:
				open = append(open, d)
			}
		}
		if drafts = open; len(drafts) == 0 {
			return
		}
		<-time.After(time.Duration(i+1) * 300 * time.Millisecond)
	}
}
