package datadir

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Host is the only address that private servers listen on.
const Host = "127.0.0.1"

// Port returns wanted, or a free one if that is 0. Another process may take it before the server
// does: see PortTaken.
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

// Address is Host and a port.
func Address(port int) string { return net.JoinHostPort(Host, strconv.Itoa(port)) }

// PortTaken tells whether the server said so.
func (l *Log) PortTaken() bool { return strings.Contains(l.Words(), "Address already in use") }
