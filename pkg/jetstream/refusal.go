package jetstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Final reports whether err says that waiting does not help.
func Final(err error) bool {
	return errors.Is(err, ErrTooOld) || errors.Is(err, ErrMaxPayload) || errors.Is(err, ErrNotAsRequested)
}

// refusal is why there is no connection, as the server says it, or the client
// of the server.
type refusal struct{ cause error }

func (r refusal) Error() string        { return "NATS refuses the connection: " + r.cause.Error() }
func (r refusal) Unwrap() error        { return r.cause }
func (r refusal) Is(target error) bool { return target == ErrUnavailable }

// Connected returns nil if there is a connection. The error is ErrUnavailable,
// and says why the server refuses one if it does.
func Connected(nc *nats.Conn) error {
	if nc.IsConnected() {
		return nil
	}
	if err := nc.LastError(); Refused(err) {
		return refusal{err}
	}
	return ErrUnavailable
}

// Refused reports whether err says that a server was reached, and that it does
// not let us in, or that we do not trust it.
func Refused(err error) bool { return refusedFor(err) != "" }

// refusedFor says in a few words why a server and a client don't come together.
// It names nobody.
func refusedFor(err error) string {
	var network *net.OpError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "its certificate is signed by an unknown authority"
	case errors.As(err, new(x509.HostnameError)):
		return "its certificate is for another name"
	case errors.As(err, new(x509.CertificateInvalidError)):
		return "its certificate is not valid, or has expired"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "its certificate can't be verified"
	case errors.As(err, &network) && network.Op == "remote error", // an alert of TLS
		errors.Is(err, nats.ErrTLS): // or the end of the connection in its place
		return "it does not take our certificate, or lacks one"
	case errors.As(err, &noTLS), errors.Is(err, nats.ErrSecureConnWanted):
		return "it does not speak TLS"
	case errors.Is(err, nats.ErrSecureConnRequired):
		return "it wants TLS"
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired):
		return "our credentials have expired"
	case errors.Is(err, nats.ErrAuthRevoked):
		return "our credentials are revoked"
	case errors.Is(err, nats.ErrAuthorization):
		return "it does not take our user or credentials"
	case errors.Is(err, nats.ErrMaxConnectionsExceeded), errors.Is(err, nats.ErrMaxAccountConnectionsExceeded):
		return "it has as many connections as it takes"
	}
	return ""
}

// Reason says in a few words what is wrong with NATS or the streams. It names no
// host and no user, so it may be shown to callers.
func Reason(err error) string {
	switch {
	case errors.Is(err, ErrTooOld):
		return fmt.Sprintf("NATS is older than %d.%d", OldestNATS[0], OldestNATS[1])
	case errors.Is(err, ErrMaxPayload):
		return fmt.Sprintf("max_payload of NATS has to be at least %d bytes", LeastMaxPayload)
	case errors.Is(err, ErrNotAsRequested):
		return "a stream is not as it must be; the log says which: run: dispatch provision"
	case errors.Is(err, ErrNotProvisioned):
		return "streams are missing: run: dispatch provision"
	case Refused(err):
		return "NATS refuses the connection: " + refusedFor(err)
	case errors.Is(err, ErrUnavailable):
		return "not connected to NATS"
	case errors.Is(err, natsjs.ErrJetStreamNotEnabled), errors.Is(err, natsjs.ErrJetStreamNotEnabledForAccount),
		errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
		return "no answer from JetStream"
	}
	return "the streams can't be looked up"
}
