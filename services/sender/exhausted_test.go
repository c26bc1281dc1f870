package sender

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// failing is a transport that opens no connection.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// tried is what comes of an attempt on a transport that opens no connection.
func tried(err error) answer {
	w := &webhook{url: &url.URL{Scheme: "http", Host: "127.0.0.1"}, timeout: time.Minute, transport: failing{err}, clock: new(events.Skew)}
	return w.attempt(context.Background(), message.Message{ID: message.NewID(time.Now()), Content: "hello"}, 1)
}

func dialing(address, call string, errno syscall.Errno) error {
	return &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.ParseIP(address), Port: 80}, Err: os.NewSyscallError(call, errno)}
}

// missing is an address that no kernel finds a way to: it is one of a link,
// and does not say of which.
const missing = "fe80::1"

func TestWhatThisMachineLacksIsNoAttempt(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"descriptors":            dialing("127.0.0.1", "socket", syscall.EMFILE),
		"descriptors of all":     dialing("127.0.0.1", "socket", syscall.ENFILE),
		"buffers":                dialing("127.0.0.1", "connect", syscall.ENOBUFS),
		"memory":                 dialing("127.0.0.1", "connect", syscall.ENOMEM),
		"ports":                  dialing("127.0.0.1", "connect", syscall.EADDRNOTAVAIL),
		"descriptors, by a name": unsentError{&net.DNSError{UnwrapErr: syscall.EMFILE}},
	} {
		require.ErrorIs(t, tried(err).unsent, err, name)
	}
	for name, err := range map[string]error{
		"refused":            dialing("127.0.0.1", "connect", syscall.ECONNREFUSED),
		"broken":             errors.New("broken"),
		"no such kind":       dialing("2001:db8::1", "socket", syscall.EAFNOSUPPORT),
		"none of this kind":  dialing(missing, "connect", syscall.EADDRNOTAVAIL),
		"no way there":       dialing("2001:db8::1", "connect", syscall.ENETUNREACH),
		"may have been sent": &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ENOBUFS)},
	} {
		a := tried(err)
		require.NoError(t, a.unsent, name)
		require.Equal(t, retryable, a.verdict, name)
		require.NotEmpty(t, a.text, name)
	}
	require.Equal(t, "this machine has no address from which to reach the webhook's", tried(dialing("::1", "socket", syscall.EAFNOSUPPORT)).text)
}

// A machine may have no IPv6, or none that reaches this far. Whatever the
// kernel says then, it is an attempt.
func TestAnAddressOutOfReachIsAnAttempt(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"http://[" + missing + "]:80/hook", "https://[" + missing + "]/hook"} {
		w, err := newWebhook(Config{WebhookURL: at, WebhookTimeout: time.Second, Concurrency: 1}, zap.NewNop())
		require.NoError(t, err)
		a := w.attempt(t.Context(), testMessage(), 1)
		require.NoError(t, a.unsent, "%s", a.text)
		require.Equal(t, retryable, a.verdict)
	}
}

func TestWhatCanNotBeTriedForLongCountsAsAnAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var u unsentSince
		id, other, left := message.NewID(time.Now()), message.NewID(time.Now()), message.NewID(time.Now())
		require.False(t, u.tooLong(left))
		began := time.Now()
		for !u.tooLong(id) {
			time.Sleep(exhaustedPause) // by the bubble's clock
			require.False(t, u.tooLong(other))
			u.forget(other)
		}
		require.Equal(t, exhaustedLimit, time.Since(began))
		require.False(t, u.tooLong(id), "it begins anew")
		time.Sleep(5 * exhaustedLimit)
		u.tooLong(other)
		require.Len(t, u.since, 1, "what others have sent is forgotten")
	})
	a := counted(tried(dialing("127.0.0.1", "socket", syscall.EMFILE)))
	require.NoError(t, a.unsent)
	require.Equal(t, retryable, a.verdict)
	require.Contains(t, a.text, "too many open files")
}
