package messages

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestAPageIsEncodedLikeEncodingJSON(t *testing.T) {
	t.Parallel()
	cursor := "next"
	p := Page{Data: []message.Message{}}
	for range 3 {
		require.JSONEq(t, string(message.EncodeJSON(p)), string(p.AppendJSON(nil)))
		p.Data = append(p.Data, message.Message{
			ID: message.NewID(time.Now()), To: "a", Content: "<&>", Payload: []byte(`{"a":1}`), Status: message.Sent,
		})
		p.NextCursor = &cursor
	}
	require.Equal(t, string(message.EncodeJSON(p)), string(p.AppendJSON(nil)))
}

// The estimate must not be smaller than the JSON: the buffer would grow beyond what
// was reserved for it.
func TestThePageSizeIsACloseUpperBound(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 10<<10)
	m := message.Message{ID: message.NewID(time.Now()), Content: large, Payload: []byte(`"` + large + `"`)}
	p := Page{Data: []message.Message{m, m, m}}
	require.LessOrEqual(t, len(p.AppendJSON(nil)), p.Size())
	require.Less(t, p.Size(), len(p.AppendJSON(nil))*11/10)
}
