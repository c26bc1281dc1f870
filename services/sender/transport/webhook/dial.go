package webhook

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	keepAlive        = 15 * time.Second
)

func newDialer() net.Dialer {
	return net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
}

// dialer opens connections that check what arrives on them.
type dialer struct {
	net.Dialer
	config *tls.Config // nil for the defaults
}

func (d dialer) dialPlain(ctx context.Context, network, address string) (*checkedConn, error) {
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	tcp := newTCPConn(conn)
	return newCheckedConn(tcp, tcp), nil
}

// dialSecure opens a connection with TLS. checked is nil if the host has chosen
// HTTP/2, whose frames say what belongs together.
func (d dialer) dialSecure(ctx context.Context, network, address string) (secured *tls.Conn, checked *checkedConn, err error) {
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if d.config != nil {
		config = d.config.Clone()
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	config.ServerName, _, _ = net.SplitHostPort(address)
	tcp := newTCPConn(conn)
	secured = tls.Client(tcp, config)
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	if secured.ConnectionState().NegotiatedProtocol == "h2" {
		return secured, nil, nil
	}
	return secured, newCheckedConn(secured, tcp), nil
}
