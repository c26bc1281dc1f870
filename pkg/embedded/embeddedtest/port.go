package embeddedtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Ports are below the range that systems use for outgoing connections (32768 and up
// on Linux, 49152 elsewhere). A server that is down for a while must find its port
// free when it comes back.
const (
	firstPort = 12_000
	lastPort  = 32_000
)

// reservations are the sockets that mark ports as taken. Without this reference the
// garbage collector would close them.
var (
	reservations   []net.PacketConn
	reservationsMu sync.Mutex
)

// FreeAddr returns a loopback address that nobody listens on, and reserves it until
// the test process ends, also from other test processes. Use it for servers in
// processes of their own. A process that is being forked may still hold the address
// for a moment; only Listen can use it at once.
func FreeAddr(t testing.TB) string {
	t.Helper()
	listener := Listen(t)
	if err := listener.Close(); err != nil {
		t.Fatalf("free %s: %v", listener.Addr(), err)
	}
	return listener.Addr().String()
}

// Listen listens on a free address, which it reserves as FreeAddr does.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort))
		// A UDP socket on the same port marks it as taken.
		sign, err := net.ListenPacket("udp4", addr)
		if err != nil {
			continue
		}
		reservationsMu.Lock()
		reservations = append(reservations, sign)
		reservationsMu.Unlock()
		listener, err := net.Listen("tcp4", addr)
		if err != nil {
			continue
		}
		return listener
	}
	t.Fatal("no free port")
	return nil
}
