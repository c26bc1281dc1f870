package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

const allowSubjects = "allow it in the permissions of this NATS user; docs/OPERATIONS.md lists what the services need"

// refusals collects the permission errors of a connection. NATS reports them
// asynchronously, and does not respond to the request itself.
type refusals struct {
	mu    sync.Mutex
	texts []string
	heard func() // cancels the current request
}

// hear implements nats.ErrHandler.
func (r *refusals) hear(_ *nats.Conn, _ *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, err.Error())
	if r.heard != nil {
		r.heard()
	}
}

// until returns a context for one request, which also ends if it is refused.
func (r *refusals) until(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts, r.heard = nil, cancel
	return ctx
}

// last returns the refusal of the last request; empty if there was none.
func (r *refusals) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.texts) == 0 {
		return ""
	}
	return r.texts[len(r.texts)-1]
}

// subjectRules are the subjects that a user may publish or subscribe to. Without
// allowed subjects, everything is allowed that is not denied.
type subjectRules struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

func (r *subjectRules) allow(subject string) bool {
	if r == nil {
		return true
	}
	allowed := len(r.Allow) == 0
	for _, pattern := range r.Allow {
		allowed = allowed || matches(pattern, subject)
	}
	for _, pattern := range r.Deny {
		allowed = allowed && !matches(pattern, subject)
	}
	return allowed
}

// matches reports whether a subject without wildcards matches a pattern. It ignores
// a queue group, which follows a space in the pattern.
func matches(pattern, subject string) bool {
	pattern, _, _ = strings.Cut(pattern, " ")
	wanted, tokens := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range wanted {
		switch {
		case i >= len(tokens):
			return false
		case token == ">":
			return true
		case token != "*" && token != tokens[i]:
			return false
		}
	}
	return len(wanted) == len(tokens)
}

// natsPermissions looks for subjects that this user may not use. The server reports
// the permissions of its user, so nothing has to be published.
func (d *doctor) natsPermissions(ctx context.Context, nc *nats.Conn, refused *refusals) {
	const check = "nats"
	answer, err := nc.RequestWithContext(refused.until(ctx), "$SYS.REQ.USER.INFO", nil)
	var info struct {
		Data struct {
			Permissions struct {
				Publish   *subjectRules `json:"publish"`
				Subscribe *subjectRules `json:"subscribe"`
			} `json:"permissions"`
		} `json:"data"`
	}
	if err == nil {
		err = json.Unmarshal(answer.Data, &info)
	}
	if err != nil {
		d.skip(check, "this user may not read its own permissions ($SYS.REQ.USER.INFO)", "")
		return
	}
	publish, subscribe := neededSubjects(d.cfg.Provision.NATS.Prefix, jetstream.APIPrefix(d.cfg.Provision.NATS.Domain))
	var missing []string
	for _, subject := range publish {
		if !info.Data.Permissions.Publish.allow(subject) {
			missing = append(missing, "publish to "+subject)
		}
	}
	for _, subject := range subscribe {
		if !info.Data.Permissions.Subscribe.allow(subject) {
			missing = append(missing, "subscribe to "+subject)
		}
	}
	if len(missing) > 0 {
		d.wrong(check, fmt.Sprintf("this user may not %s", strings.Join(missing, ", ")), allowSubjects)
		return
	}
	d.good(check, "this user may use all subjects that are needed")
}

// neededSubjects returns one subject of each kind that the services publish and
// subscribe to.
func neededSubjects(prefix, api string) (publish, subscribe []string) {
	topology := events.NewTopology(prefix, 1)
	const destination = message.DefaultDestination
	id := message.ID{}
	publish = []string{
		topology.RejectedSubject(destination), topology.DeliverSubject(destination, id), topology.RetrySubject(destination, id),
		topology.EventSubject(message.EventCreated, destination), topology.ChangesSubject(), topology.WakeSubject(), topology.ControlSubject("status"),
		api + "INFO", api + "STREAM.CREATE." + topology.EventsStream(), api + "CONSUMER.MSG.NEXT." + topology.EventsStream() + "." + events.RecorderConsumer,
		"$JS.ACK." + topology.EventsStream() + "." + events.RecorderConsumer + ".1.1.1.1.1", "$SRV.PING", "_INBOX.x.y",
	}
	subscribe = []string{
		topology.ControlSubject("status"), topology.MessagesSubject("create"), topology.WakeSubject(), "$SRV.PING." + events.ControlService, "_INBOX.x.y",
	}
	return publish, subscribe
}
