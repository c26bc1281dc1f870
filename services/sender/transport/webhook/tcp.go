package webhook

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// tcpConn is a TCP connection that knows at every moment whether the receiver
// has sent bytes that nobody has judged yet.
type tcpConn struct {
	net.Conn
	raw syscall.RawConn

	mu       sync.Mutex
	unjudged bool // bytes were read since setJudged was called
	noWait   bool // Read returns errNoBytes if nothing has arrived
}

// newTCPConn returns conn itself if it is no socket.
func newTCPConn(conn net.Conn) net.Conn {
	s, ok := conn.(syscall.Conn)
	if !ok {
		return conn
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return conn
	}
	return &tcpConn{Conn: conn, raw: raw}
}

// Read is net.Conn's. Bytes leave the socket and are noted in one step.
func (c *tcpConn) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	noWait := false
	rawErr := c.raw.Read(func(fd uintptr) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for {
			n, err = syscall.Read(int(fd), p)
			if !errors.Is(err, syscall.EINTR) {
				break
			}
		}
		c.unjudged = c.unjudged || n > 0
		noWait = c.noWait
		return noWait || !errors.Is(err, syscall.EAGAIN)
	})
	switch {
	case rawErr != nil:
		return 0, rawErr
	case noWait && errors.Is(err, syscall.EAGAIN):
		return 0, errNoBytes
	case err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", err)}
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// setJudged says that the bytes that were read are judged.
func (c *tcpConn) setJudged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unjudged = false
}

// hasUnread reports whether bytes wait to be judged or read, or the receiver
// has closed the connection.
func (c *tcpConn) hasUnread() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unjudged {
		return true
	}
	quiet := false
	err := c.raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN)
	})
	return err != nil || !quiet
}

// readsMore reports whether secured, which is TLS over this connection and is
// read by nobody else, has content to read or is at its end. Session tickets are
// no content. Unlike hasUnread it also sees what TLS has read ahead.
func (c *tcpConn) readsMore(secured net.Conn) bool {
	c.setNoWait(true)
	defer c.setNoWait(false)
	var one [1]byte
	n, err := secured.Read(one[:])
	return n > 0 || !errors.Is(err, errNoBytes)
}

func (c *tcpConn) setNoWait(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noWait = on
}

// errNoBytes says that nothing has arrived. TLS goes on after an error that is
// temporary.
var errNoBytes error = noBytesError{}

type noBytesError struct{}

func (noBytesError) Error() string   { return "nothing has arrived" }
func (noBytesError) Timeout() bool   { return true }
func (noBytesError) Temporary() bool { return true }
