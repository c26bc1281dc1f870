package chaos_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// What a client knows of a message after a try.
type result int

const (
	unknown  result = iota // no answer, or one that says to try again
	accepted               // it is stored, or in the stream
	refused                // it never will be
)

type receipt struct {
	result result
	id     string // empty where none is told
}

// transport submits drafts once and returns a receipt for each. Another try
// goes to another ingest.
type transport func(drafts []draft, try int) []receipt

func (c *clients) transports() map[string]transport {
	return map[string]transport{"http": each(c.post), "nats": each(c.publish), "request": each(c.request), "batch": c.batch, "lines": c.lines}
}

func each(one func(d draft, try int) receipt) transport {
	return func(drafts []draft, try int) []receipt {
		answers := make([]receipt, len(drafts))
		for i, d := range drafts {
			answers[i] = one(d, try)
		}
		return answers
	}
}

func (c *clients) api(n int) string { return c.apis[n%len(c.apis)] }

// send makes one request; nil when there is no answer.
func (c *clients) send(method, url, contentType string, body []byte) *http.Response {
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return nil
	}
	request.Header.Set("Content-Type", contentType)
	response, err := c.http.Do(request)
	if err != nil {
		return nil
	}
	return response
}

// resultOf reads a status. 409 is a refusal: the key belongs to another body.
func resultOf(status int) result {
	switch {
	case status == http.StatusCreated || status == http.StatusOK:
		return accepted
	case status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout:
		return refused
	default:
		return unknown
	}
}

func (c *clients) post(d draft, try int) receipt {
	response := c.send(http.MethodPost, c.api(len(d.key)+try)+"/api/v1/messages", "application/json", d.body)
	if response == nil {
		return receipt{}
	}
	defer response.Body.Close()
	var m struct{ ID string }
	if f := resultOf(response.StatusCode); f != accepted {
		return receipt{result: f}
	}
	if json.NewDecoder(response.Body).Decode(&m) != nil || m.ID == "" {
		return receipt{} // it broke off
	}
	return receipt{accepted, m.ID}
}

func (c *clients) publish(d draft, _ int) receipt {
	ctx, cancel := context.WithTimeout(context.Background(), tryWithin)
	defer cancel()
	msg := &nats.Msg{Subject: "dispatch.intake.default", Data: d.body, Header: nats.Header{}}
	if _, err := c.js.PublishMsg(ctx, msg, natsjs.WithMsgID(d.key), natsjs.WithRetryAttempts(0)); err != nil {
		return receipt{}
	}
	return receipt{result: accepted}
}

// ask makes one request over NATS. status is 0 when there is no answer.
func (c *clients) ask(verb string, body []byte) (status int, data []byte) {
	msg, err := c.js.Conn().Request("dispatch.messages."+verb, body, tryWithin)
	if err != nil {
		return 0, nil
	}
	switch code := msg.Header.Get("Nats-Service-Error-Code"); {
	case code == "":
		return http.StatusOK, msg.Data
	case strings.HasPrefix(code, "5") || code == "429":
		return http.StatusServiceUnavailable, msg.Data
	case code == "404":
		return http.StatusNotFound, msg.Data
	default:
		return http.StatusConflict, msg.Data
	}
}

func (c *clients) request(d draft, _ int) receipt {
	status, data := c.ask("create", d.body)
	var m struct{ ID string }
	f := resultOf(status)
	if f == accepted && (json.Unmarshal(data, &m) != nil || m.ID == "") {
		return receipt{}
	}
	return receipt{f, m.ID}
}

// item is what the API says about one of many.
type item struct {
	Index int
	ID    string
	Error *struct{ Status int }
}

func (i item) receipt() receipt {
	if i.Error != nil {
		return receipt{result: resultOf(i.Error.Status)}
	}
	return receipt{accepted, i.ID}
}

func (c *clients) batch(drafts []draft, try int) []receipt {
	answers := make([]receipt, len(drafts))
	bodies := make([]json.RawMessage, len(drafts))
	for i, d := range drafts {
		bodies[i] = d.body
	}
	body, err := json.Marshal(bodies)
	if err != nil {
		return answers
	}
	response := c.send(http.MethodPost, c.api(len(drafts)+try)+"/api/v1/messages/batch", "application/json", body)
	if response == nil {
		return answers
	}
	defer response.Body.Close()
	var page struct{ Results []item }
	if response.StatusCode != http.StatusOK || json.NewDecoder(response.Body).Decode(&page) != nil {
		return answers
	}
	for _, one := range page.Results {
		answers[one.Index] = one.receipt()
	}
	return answers
}

// lines hands in NDJSON. Every line that comes back counts, whatever becomes
// of the rest.
func (c *clients) lines(drafts []draft, try int) []receipt {
	answers := make([]receipt, len(drafts))
	var body []byte
	for _, d := range drafts {
		body = append(append(body, d.body...), '\n')
	}
	response := c.send(http.MethodPost, c.api(len(drafts)+try)+"/api/v1/messages/batch", "application/x-ndjson", body)
	if response == nil {
		return answers
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return answers
	}
	for read := bufio.NewScanner(response.Body); read.Scan(); {
		one := item{Index: -1}
		if json.Unmarshal(read.Bytes(), &one) == nil && one.Index >= 0 { // else it broke off, or is the line that says so
			answers[one.Index] = one.receipt()
		}
	}
	return answers
}
