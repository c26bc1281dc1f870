package datadir

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Host is the only address that private servers listen on.
const Host = "127.0.0.1"

// Port returns wanted, or a free port if wanted is 0. Another process may take the
// port before the server does, see PortTaken.
func Port(wanted int) (int, error) {
	if wanted != 0 {
		return wanted, nil
	}
	listener, err := net.Listen("tcp4", net.JoinHostPort(Host, "0"))
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// Address returns Host with a port.
func Address(port int) string { return net.JoinHostPort(Host, strconv.Itoa(port)) }

// PortTaken reports whether the server's output says that its port is taken.
func (l *Log) PortTaken() bool { return strings.Contains(l.OutputTail(), "Address already in use") }
