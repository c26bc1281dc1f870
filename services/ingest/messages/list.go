package messages

import (
	"context"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

// MessageOverhead is what a message takes in JSON besides its content and
// payload, as a rule.
const MessageOverhead = 512

// Page is a part of a list.
type Page struct {
	Data       []message.Message `json:"data"`
	NextCursor *string           `json:"nextCursor"`
}

// Size is how long its JSON is, but for escapes and what is always short.
func (p Page) Size() int {
	size := 0
	for i := range p.Data {
		size += MessageOverhead + len(p.Data[i].Content) + len(p.Data[i].Payload)
	}
	return size
}

// AppendJSON appends the JSON object to b and returns the extended slice.
func (p Page) AppendJSON(b []byte) []byte {
	b = append(b, `{"data":[`...)
	for i := range p.Data {
		if i > 0 {
			b = append(b, ',')
		}
		b = p.Data[i].AppendJSON(b)
	}
	b = append(b, `],"nextCursor":`...)
	return append(append(b, message.EncodeJSON(p.NextCursor)...), '}')
}

// List returns the messages that a filter matches, newest first: fewer than its
// limit where those have more than maxBytes of JSON, but one always.
func (u *Service) List(ctx context.Context, filter db.Filter, maxBytes int) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, queryWait)
	defer cancel()
	filter.MaxBytes = maxBytes
	found, err := u.store.ListPage(ctx, filter)
	if err != nil {
		return Page{}, err
	}
	if !found.More {
		return Page{Data: found.Messages}, nil
	}
	cursor := request.NewCursor(found.Messages[len(found.Messages)-1].ID)
	return Page{Data: found.Messages, NextCursor: &cursor}, nil
}
