package sender

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// tcpConn is a TCP connection that knows at every moment whether the far end
// has sent something that nobody has judged yet.
type tcpConn struct {
	net.Conn
	raw syscall.RawConn

	mu       sync.Mutex
	unjudged bool // something was read, and judge was not called since
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

// Read is net.Conn's. Nothing leaves the socket without being noted in the
// same moment.
func (c *tcpConn) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	waited := c.raw.Read(func(fd uintptr) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for {
			n, err = syscall.Read(int(fd), p)
			if !errors.Is(err, syscall.EINTR) {
				break
			}
		}
		c.unjudged = c.unjudged || n > 0
		return !errors.Is(err, syscall.EAGAIN)
	})
	switch {
	case waited != nil:
		return 0, waited
	case err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", err)}
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// judge says that what was read is judged.
func (c *tcpConn) judge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unjudged = false
}

// pending says whether something is to be judged, or was sent and not read, or
// whether the far end has closed the connection.
func (c *tcpConn) pending() bool {
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
