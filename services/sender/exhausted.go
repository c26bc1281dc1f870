package sender

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	// exhaustedPause is when a message comes again for which this machine had
	// no connection, and how long the worker that tried it rests.
	exhaustedPause = time.Second
	// exhaustedLimit is how long a message is tried so without an attempt that
	// counts. Other senders may have it all the while. Then it counts, so that
	// the message comes to an end.
	exhaustedLimit = 5 * time.Minute
)

// exhausted says whether no connection was opened for a reason of this
// machine's own: no descriptors, ports or memory for one more. The webhook has
// no part in it. An address that this machine can't reach at all, such as one
// of IPv6 where there is none, is a setting of the webhook's: that may be
// tried for ever and counts as an attempt, like a name that does not resolve.
func exhausted(err error) bool {
	var op *net.OpError
	var unsent unsentError
	if dialed := errors.As(err, &op) && op.Op == "dial"; !dialed && !errors.As(err, &unsent) {
		return false // the webhook may have the request
	}
	return lacking(err) || errors.Is(err, syscall.EADDRNOTAVAIL) && (op == nil || reachable(op.Addr))
}

// lacking says whether the kernel had no descriptor or memory to give.
func lacking(err error) bool {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// reachable says whether this machine has an address from which to reach
// another. A UDP socket tells without sending anything, and takes no TCP port:
// those may be what is used up.
func reachable(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return true
	}
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: tcp.IP, Port: tcp.Port, Zone: tcp.Zone})
	if err != nil {
		return lacking(err)
	}
	_ = conn.Close()
	return true
}

// unreachable says whether this machine has no way to an address of its kind.
func unreachable(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// unsentSince is since when messages have been tried that this machine has no
// connection for. The zero value is none. It is safe for concurrent use.
type unsentSince struct {
	mu     sync.Mutex
	since  map[message.ID]time.Time
	pruned time.Time
}

// tooLong notes that a message could not be tried, and says whether it has
// been so for as long as exhaustedLimit. Then it begins anew.
func (u *unsentSince) tooLong(id message.ID) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	u.prune(now)
	began, known := u.since[id]
	if !known {
		u.since[id] = now
		return false
	}
	if now.Sub(began) < exhaustedLimit {
		return false
	}
	delete(u.since, id)
	return true
}

// prune forgets now and then what others have sent meanwhile.
func (u *unsentSince) prune(now time.Time) {
	if u.since == nil {
		u.since, u.pruned = map[message.ID]time.Time{}, now
	}
	if now.Sub(u.pruned) < exhaustedLimit {
		return
	}
	u.pruned = now
	for id, began := range u.since {
		if now.Sub(began) > 4*exhaustedLimit {
			delete(u.since, id)
		}
	}
}

// forget is for a message that was tried.
func (u *unsentSince) forget(id message.ID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.since, id)
}

// counted is an answer that counts as an attempt, of a message that this
// machine could not try.
func counted(a answer) answer {
	return answer{
		verdict: retryable, started: a.started, unreached: true,
		text: "this machine has had no connection to spare for " + exhaustedLimit.String() + ": " + plain(a.unsent),
	}
}
