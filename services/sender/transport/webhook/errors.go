package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

var (
	errTimeout       = errors.New("there was no response in time")
	errHeaderTooLong = errors.New("the response's header is too long")
	// errUnsolicited says that bytes arrived for which no request was made, or that
	// the connection was closed meanwhile.
	errUnsolicited = errors.New("the connection was closed, or the webhook sent bytes before it had the request")
	// errNoResponse says that what arrived instead of a response is too long.
	errNoResponse = errors.New("what the webhook sent contains no response")
	// errHTTP2 says that the host prefers HTTP/2, which net/http speaks.
	errHTTP2 = errors.New("the webhook prefers HTTP/2")
)

// notSentError says that nothing of the request has left this machine.
type notSentError struct{ error }

// Unwrap returns what was in the way.
func (e notSentError) Unwrap() error { return e.error }

// sendError returns why there is no response, as the contract of
// transport.Transport demands.
func sendError(err error, timeout time.Duration) *transport.Error {
	var notSent notSentError
	local := isLocal(err)
	return &transport.Error{
		Text: describe(err, timeout), Err: err, Local: local,
		NotSent: local || errors.As(err, &notSent) || wantsOtherCertificate(err),
	}
}

// describe says in words why there is no response.
func describe(err error, timeout time.Duration) string {
	var dns *net.DNSError
	var op *net.OpError
	var invalid *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(err, errTimeout):
		return "timeout after " + timeout.String()
	case isLocal(err):
		return transport.ErrorText(err)
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return "DNS lookup failed: no such host"
		}
		return "DNS lookup failed"
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "the proxy can't be reached"
	case errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine has no address from which to reach the webhook's"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &invalid), errors.As(err, &unknown):
		return "TLS: " + transport.ErrorText(err)
	case wantsOtherCertificate(err):
		return "TLS: the webhook wants another client certificate (WEBHOOK_CERT): " + transport.ErrorText(err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		strings.Contains(err.Error(), "server closed idle connection"):
		return "connection closed without a response"
	}
	return transport.ErrorText(err)
}

// wantsOtherCertificate reports whether the webhook has refused the client
// certificate. It says so when the request is on its way already, and does not
// read the request.
func wantsOtherCertificate(err error) bool {
	var remote *net.OpError
	return errors.As(err, &remote) && remote.Op == "remote error" && strings.Contains(remote.Err.Error(), "certificate")
}

// isLocal reports whether this machine itself had no descriptors, ports or
// memory for a connection. The webhook has no part in it. An address that this
// machine can't reach at all, such as one of IPv6 where there is none, is a
// setting of the webhook: trying could go on forever, so it counts as an
// attempt, like a name that does not resolve.
func isLocal(err error) bool {
	var op *net.OpError
	var notSent notSentError
	if dialed := errors.As(err, &op) && op.Op == "dial"; !dialed && !errors.As(err, &notSent) {
		return false // the webhook may have the request
	}
	return lacksResources(err) || errors.Is(err, syscall.EADDRNOTAVAIL) && (op == nil || reachable(op.Addr))
}

// lacksResources reports whether the kernel had no descriptor or memory to
// give.
func lacksResources(err error) bool {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// reachable reports whether this machine has an address from which to reach
// another one. A UDP socket shows it without sending anything and without a TCP
// port, which may be what is used up.
func reachable(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return true
	}
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: tcp.IP, Port: tcp.Port, Zone: tcp.Zone})
	if err != nil {
		return lacksResources(err)
	}
	_ = conn.Close()
	return true
}
