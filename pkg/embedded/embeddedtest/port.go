package embeddedtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Ports come from below what systems give to outgoing connections (32768 and
// up on Linux, 49152 elsewhere): a server that is down for a while must find
// its port free when it comes back.
const (
	firstPort = 12_000
	lastPort  = 32_000
)

// kept holds the signs that ports are taken; what is not referred to would be
// closed.
var (
	kept   []net.PacketConn
	keptMu sync.Mutex
)

// FreeAddr returns a loopback address that nobody listens on, and keeps it
// from other callers, in other processes too, until the test process ends. It
// is for processes: one that is being forked may hold the address for a moment
// yet, so that only listen is sure to get it at once.
func FreeAddr(t testing.TB) string {
	t.Helper()
	listener := Listen(t)
	if err := listener.Close(); err != nil {
		t.Fatalf("give %s free: %v", listener.Addr(), err)
	}
	return listener.Addr().String()
}

// Listen listens on a free address, which is kept as FreeAddr's are.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort))
		// A UDP socket of the same number is the sign that it is taken.
		sign, err := net.ListenPacket("udp4", addr)
		if err != nil {
			continue
		}
		keptMu.Lock()
		kept = append(kept, sign)
		keptMu.Unlock()
		listener, err := net.Listen("tcp4", addr)
		if err != nil {
			continue
		}
		return listener
	}
	t.Fatal("no free port")
	return nil
}
