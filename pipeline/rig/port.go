package rig

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
// from other callers, in other processes too, until the test process ends.
func FreeAddr(t testing.TB) string {
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
		if err := listener.Close(); err != nil {
			t.Fatalf("give %s free: %v", addr, err)
		}
		return addr
	}
	t.Fatal("no free port")
	return ""
}
