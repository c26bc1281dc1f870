package messages

import (
	"context"

	"github.com/message-dispatcher/dispatch/pkg/db"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/services/ingest/request"
)

// JSONOverhead is how many bytes the JSON of a message usually has besides its
// content and payload.
const JSONOverhead = 512

// Page is one page of a list.
type Page struct {
	Data       []message.Message `json:"data"`
	NextCursor *string           `json:"nextCursor"` // null on the last page
}

// Size estimates the bytes of the page's JSON. It ignores escapes.
func (p Page) Size() int {
	size := 0
	for i := range p.Data {
		size += JSONOverhead + len(p.Data[i].Content) + len(p.Data[i].Payload)
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

// List returns the messages that match a filter, newest first. A page has fewer
// messages than the filter's limit if their JSON has more than maxBytes, but at
// least one. It returns db.ErrTooSlow if the search takes too long.
func (s *Service) List(ctx context.Context, filter db.Filter, maxBytes int) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	filter.MaxBytes = maxBytes
	found, err := s.store.ListPage(ctx, filter)
	if err != nil {
		return Page{}, err
	}
	if !found.More {
		return Page{Data: found.Messages}, nil
	}
	cursor := request.NewCursor(found.Messages[len(found.Messages)-1].ID)
	return Page{Data: found.Messages, NextCursor: &cursor}, nil
}
