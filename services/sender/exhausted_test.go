package sender

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// failing is a transport that opens no connection.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

func TestWhatThisMachineLacksIsNoAttempt(t *testing.T) {
	t.Parallel()
	attempt := func(err error) answer {
		w := &webhook{url: &url.URL{Scheme: "http", Host: "127.0.0.1"}, timeout: time.Minute, transport: failing{err}, clock: new(events.Skew)}
		return w.attempt(t.Context(), message.Message{ID: message.NewID(time.Now()), Content: "hello"}, 1)
	}
	lack := &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	require.ErrorIs(t, attempt(lack).unsent, syscall.EMFILE)
	for _, err := range []error{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, errors.New("broken")} {
		a := attempt(err)
		require.NoError(t, a.unsent)
		require.Equal(t, retryable, a.verdict)
	}
}
