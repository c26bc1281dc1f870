package jetstream

import (
	"fmt"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Access says how NATS is reached. Only URL is needed.
type Access struct {
	URL    string // servers, separated by commas
	Creds  string // file with a user's JWT and seed
	NKey   string // file with a user's seed
	CA     string // file with the certificates that the server's is checked by
	Cert   string // file with a client certificate
	Key    string // file with its key
	Domain string // JetStream domain; empty for the server's own
}

// options are those of the connection.
func (a Access) options() ([]nats.Option, error) {
	var options []nats.Option
	if a.Creds != "" {
		options = append(options, nats.UserCredentials(a.Creds))
	}
	if a.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(a.NKey)
		if err != nil {
			return nil, fmt.Errorf("read the nkey in %s: %w", a.NKey, err)
		}
		options = append(options, option)
	}
	if a.CA != "" {
		options = append(options, nats.RootCAs(a.CA))
	}
	if a.Cert != "" {
		options = append(options, nats.ClientCert(a.Cert, a.Key))
	}
	return options, nil
}

// open returns the JetStream of the domain.
func (a Access) open(nc *nats.Conn, options ...natsjs.JetStreamOpt) (natsjs.JetStream, error) {
	if a.Domain != "" {
		return natsjs.NewWithDomain(nc, a.Domain, options...)
	}
	return natsjs.New(nc, options...)
}

// APIPrefix is what the subjects of JetStream's API begin with in a domain, or
// without one.
func APIPrefix(domain string) string {
	if domain != "" {
		return "$JS." + domain + ".API."
	}
	return natsjs.DefaultAPIPrefix
}
