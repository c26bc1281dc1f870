package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports come from below what systems give to outgoing connections, so that
// none of those takes one before the service that it is for.
const (
	firstPort = 12_000
	lastPort  = 32_000
)

// ports are addresses for services. A UDP socket of the same number keeps each
// from other benches on this machine.
type ports struct{ kept []net.PacketConn }

// addr returns a loopback address that nobody listens on.
func (p *ports) addr() (string, error) {
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort))
		sign, err := net.ListenPacket("udp4", addr)
		if err != nil {
			continue
		}
		listener, err := net.Listen("tcp4", addr)
		if err != nil {
			_ = sign.Close() // somebody has the number
			continue
		}
		p.kept = append(p.kept, sign)
		return addr, listener.Close()
	}
	return "", errors.New("no free port")
}

func (p *ports) close() {
	for _, sign := range p.kept {
		_ = sign.Close() // nothing was ever sent
	}
}
