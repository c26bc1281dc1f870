package webhook

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// because is what comes of an attempt that failed because of err.
func because(err error) *transport.Error { return sendError(err, time.Minute) }

func dialError(address, call string, errno syscall.Errno) error {
	return &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.ParseIP(address), Port: 80}, Err: os.NewSyscallError(call, errno)}
}

// missing is an address that no kernel finds a way to: it is one of a link,
// and does not say of which.
const missing = "fe80::1"

func TestWhatThisMachineLacksIsLocal(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"descriptors":            dialError("127.0.0.1", "socket", syscall.EMFILE),
		"descriptors of all":     dialError("127.0.0.1", "socket", syscall.ENFILE),
		"buffers":                dialError("127.0.0.1", "connect", syscall.ENOBUFS),
		"memory":                 dialError("127.0.0.1", "connect", syscall.ENOMEM),
		"ports":                  dialError("127.0.0.1", "connect", syscall.EADDRNOTAVAIL),
		"descriptors, by a name": notSentError{&net.DNSError{UnwrapErr: syscall.EMFILE}},
	} {
		require.True(t, because(err).Local, name)
		require.True(t, because(err).NotSent, name)
		require.ErrorIs(t, because(err), err)
	}
	for name, err := range map[string]error{
		"refused":            dialError("127.0.0.1", "connect", syscall.ECONNREFUSED),
		"broken":             errors.New("broken"),
		"no such kind":       dialError("2001:db8::1", "socket", syscall.EAFNOSUPPORT),
		"none of this kind":  dialError(missing, "connect", syscall.EADDRNOTAVAIL),
		"no way there":       dialError("2001:db8::1", "connect", syscall.ENETUNREACH),
		"may have been sent": &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ENOBUFS)},
	} {
		require.False(t, because(err).Local, name)
		require.NotEmpty(t, because(err).Text, name)
	}
	require.Equal(t, "this machine has no address from which to reach the webhook's", because(dialError("::1", "socket", syscall.EAFNOSUPPORT)).Text)
}

// A machine may have no IPv6, or none that reaches this far. Whatever the
// kernel says then, it is an attempt.
func TestAnAddressOutOfReachIsAnAttempt(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"http://[" + missing + "]:80/hook", "https://[" + missing + "]/hook"} {
		a := newTarget(t, at).send(t.Context())
		require.False(t, a.local, "%s", a.text)
		require.Zero(t, a.status)
	}
}
