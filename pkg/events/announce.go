package events

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
)

// Announce registers an instance of a service that has no endpoints with NATS
// micro, so that discovery and the status count it, until stop is called.
// version is a semantic version.
func Announce(js jetstream.JetStream, topology Topology, name, version, description string) (stop func() error, err error) {
	s, err := micro.AddService(js.Conn(), micro.Config{
		Name:        name,
		Version:     version,
		Description: description,
		Metadata:    topology.Metadata(),
	})
	if err != nil {
		return nil, fmt.Errorf("announce %s: %w", name, err)
	}
	return s.Stop, nil
}
