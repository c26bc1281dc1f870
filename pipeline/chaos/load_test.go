package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pipeline/ledger"
)

// clients hand in messages at a steady rate, every other one by HTTP, and
// repeat under the same key what is not answered, as a good client would.
type clients struct {
	book *ledger.Book
	apis []string // of the ingests
	js   jetstream.JetStream
	http *http.Client
}

const (
	tries     = 5
	tryWithin = 3 * time.Second
)

func newClients(book *ledger.Book, apis []string, natsURL string) (*clients, error) {
	conn, err := nats.Connect(natsURL, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectWait(250*time.Millisecond))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	return &clients{book: book, apis: apis, js: js, http: &http.Client{Timeout: tryWithin}}, nil
}

// run hands in a message every so often, until ctx ends, and then waits for
// the answers to the last ones.
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
			underWay.Go(func() { c.handIn(n) })
		}
	}
}

func (c *clients) handIn(n int) {
	key, via := fmt.Sprintf("http-%d", n), "http"
	try := c.post
	if n%2 == 1 {
		key, via, try = fmt.Sprintf("nats-%d", n), "nats", c.publish
	}
	c.book.Try(key, via)
	for i := range tries {
		if id, ok := try(key, n+i); ok {
			c.book.Accept(key, id)
			return
		}
		<-time.After(time.Duration(i+1) * 300 * time.Millisecond)
	}
}

func body(key string) string {
	return fmt.Sprintf(`{"to":"+905551111111","content":%q}`, key)
}

// post is one attempt at one of the ingests; another attempt goes to another.
func (c *clients) post(key string, n int) (id string, ok bool) {
	request, err := http.NewRequest(http.MethodPost, c.apis[n/2%len(c.apis)]+"/api/v1/messages", strings.NewReader(body(key)))
	if err != nil {
		return "", false
	}
	request.Header.Set("Content-Type", "application/json")
	// In lower case, so that net/http repeats nothing by itself.
	request.Header["idempotency-key"] = []string{key}
	response, err := c.http.Do(request)
	if err != nil {
		return "", false
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated && response.StatusCode != http.StatusOK {
		return "", false
	}
	var m struct{ ID string }
	text, err := io.ReadAll(response.Body)
	if err != nil || json.Unmarshal(text, &m) != nil {
		return "", false
	}
	return m.ID, m.ID != ""
}

func (c *clients) publish(key string, _ int) (id string, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), tryWithin)
	defer cancel()
	msg := &nats.Msg{Subject: "dispatch.intake.default", Data: []byte(body(key)), Header: nats.Header{}}
	_, err := c.js.PublishMsg(ctx, msg, jetstream.WithMsgID(key), jetstream.WithRetryAttempts(0))
	return "", err == nil
}
