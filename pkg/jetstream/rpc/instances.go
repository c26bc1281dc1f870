package rpc

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/synadia-io/orbit.go/natsext"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// instancesEvery is how old the list of instances may be, and instancesStall
// how long the last answer may be away.
const (
	instancesEvery = 2 * time.Second
	instancesStall = 100 * time.Millisecond
)

var serviceNames = map[string]string{
	events.MessagesService: "ingest",
	events.ControlService:  "dispatcher",
	events.SenderService:   "sender",
}

// Instances knows which services run, by NATS micro's discovery. Run keeps
// it up to date; List is safe for concurrent use.
type Instances struct {
	nc     *nats.Conn
	prefix string

	mu   sync.Mutex
	list []message.Instance
}

// NewInstances returns an Instances that knows nobody until Run.
func NewInstances(js *jetstream.Client) *Instances {
	return &Instances{nc: js.Conn(), prefix: js.Prefix()}
}

// List returns the services that answered last, dispatchers first. It is
// empty while NATS is away.
func (i *Instances) List() []message.Instance {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.list)
}

// Run asks around every 2 s until ctx ends.
func (i *Instances) Run(ctx context.Context) error {
	ticker := time.NewTicker(instancesEvery)
	defer ticker.Stop()
	for {
		list := i.ask(ctx)
		i.mu.Lock()
		i.list = list
		i.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (i *Instances) ask(ctx context.Context) []message.Instance {
	list := []message.Instance{}
	if !i.nc.IsConnected() {
		return list
	}
	ctx, cancel := context.WithTimeout(ctx, instancesEvery)
	defer cancel()
	answers, err := natsext.RequestMany(ctx, i.nc, "$SRV.PING", nil, natsext.RequestManyStall(instancesStall))
	if err != nil {
		return list
	}
	for answer, err := range answers {
		if err != nil {
			break
		}
		var found micro.Ping
		if json.Unmarshal(answer.Data, &found) != nil || found.Metadata["prefix"] != i.prefix {
			continue
		}
		since, err := time.Parse(time.RFC3339Nano, found.Metadata["since"])
		if name, ours := serviceNames[found.Name]; ours && err == nil {
			list = append(list, message.Instance{ID: found.ID, Service: name, Since: since})
		}
	}
	slices.SortFunc(list, func(a, b message.Instance) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), a.Since.Compare(b.Since), strings.Compare(a.ID, b.ID))
	})
	return list
}
