// Package rpc carries requests and responses between the services and their
// clients over NATS, and knows which services run.
package rpc

import (
	"fmt"

	"github.com/nats-io/nats.go/micro"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

// Register registers an instance of a service that has no endpoints with NATS
// micro, so that discovery and the status count it, until stop is called.
// version is a semantic version.
func Register(js *jetstream.Client, name, version, description string) (stop func() error, err error) {
	s, err := micro.AddService(js.Conn(), micro.Config{
		Name:        name,
		Version:     version,
		Description: description,
		Metadata:    js.Metadata(),
	})
	if err != nil {
		return nil, fmt.Errorf("announce %s: %w", name, err)
	}
	return s.Stop, nil
}
