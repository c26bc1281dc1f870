// Package events holds the names and payloads of what is published: subjects,
// streams, consumers and their limits, events, deliveries and their headers. Each
// payload is written and read by one type. The package does no I/O; pkg/jetstream
// does.
package events

import (
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Headers of the dispatcher's own messages.
const (
	// HeaderClaim carries the claim number of a delivery.
	HeaderClaim = "Dispatch-Claim"
	// HeaderOrigin says how a copy of an id came to be on the work queue.
	HeaderOrigin = "Dispatch-Origin"
	// HeaderOutcome marks an event that tells of a sender's outcome: the
	// recorder writes those to Postgres. Those without it, of the same kind,
	// tell of what Postgres did.
	HeaderOutcome = "Dispatch-Outcome"
	// HeaderProblemCode and HeaderProblem say what was wrong with a rejected
	// intake message: a stable word, and the problem+json document.
	HeaderProblemCode = "Dispatch-Problem-Code"
	HeaderProblem     = "Dispatch-Problem"
)

// How a copy of an id came to be on the work queue. Only a first delivery
// from a tick is certainly the first of its claim.
const (
	OriginTick     = "tick"      // published by the dispatcher that claimed it
	OriginFastPath = "fast_path" // published by the ingest that stored it, and claimed it with that
	OriginRelay    = "relay"     // published by another one, or late
	OriginReclaim  = "reclaim"   // claimed anew after its lease ran out
	OriginRetry    = "retry"     // fired by a schedule
)

// Names of the durable consumers.
const (
	IntakeConsumer   = "ingest"
	RecorderConsumer = "recorder"
	CacheConsumer    = "cache"
)

// Names of the micro services.
const (
	MessagesService = "dispatch-messages"
	ControlService  = "dispatch-control"
	SenderService   = "dispatch-sender"
)

// Sizes and times of the streams and consumers.
const (
	IntakeWindow     = 2 * time.Minute
	DeliveriesWindow = 30 * time.Second
	EventsWindow     = 5 * time.Second
	EventsMaxAge     = 7 * 24 * time.Hour
	RejectedMaxAge   = 30 * 24 * time.Hour

	// SenderAckWait is how long an id stays with a sender that gives no sign of
	// life before it goes to another. It is longer than a request may take by
	// all that a sender needs around it. It is a constant: a sender that goes on
	// for longer than the server waits would be one of two.
	SenderAckWait = 90 * time.Second

	intakeAckWait   = 30 * time.Second
	recorderAckWait = 15 * time.Second
	maxAckPending   = 20_000
)

// Topology names every subject, stream and consumer. The zero value is not
// usable; make one with NewTopology. It is safe for concurrent use.
type Topology struct {
	prefix   string
	replicas int
	limits   StreamLimits
}

// NewTopology returns the topology under a prefix, such as "dispatch", with
// its streams on so many servers (1, 3 or 5), of the default sizes.
func NewTopology(prefix string, replicas int) Topology {
	return Topology{prefix: prefix, replicas: max(replicas, 1), limits: DefaultStreamLimits}
}

// Replicas returns on how many servers each stream is stored.
func (t Topology) Replicas() int { return t.replicas }

// Prefix returns the first token of every subject.
func (t Topology) Prefix() string { return t.prefix }

func (t Topology) stream(name string) string {
	return strings.ToUpper(t.prefix) + "_" + name
}

// WakeSubject is where a transaction that made something due says so: a plain
// message without a body, kept in no stream. In the continuous mode the
// dispatchers wait for it.
func (t Topology) WakeSubject() string { return t.prefix + ".wake" }

// IntakeStream holds what other systems publish directly, until it is stored.
func (t Topology) IntakeStream() string { return t.stream("INTAKE") }

// RejectedStream keeps the intake that did not validate.
func (t Topology) RejectedStream() string { return t.stream("REJECTED") }

// DeliveriesStream is the work queue of the senders.
func (t Topology) DeliveriesStream() string { return t.stream("DELIVERIES") }

// EventsStream tells everyone what happened.
func (t Topology) EventsStream() string { return t.stream("EVENTS") }

// ChangesStream tells the dispatcher whose state it has yet to copy to Redis.
func (t Topology) ChangesStream() string { return t.stream("CHANGES") }

// ChangesSubject is where transactions publish change notifications: which messages they have
// changed.
func (t Topology) ChangesSubject() string { return t.prefix + ".changed" }

// IntakeSubject is where other systems publish messages for a destination.
func (t Topology) IntakeSubject(destination string) string {
	return t.prefix + ".intake." + destination
}

// IntakeDestination returns the destination of an intake subject.
func (t Topology) IntakeDestination(subject string) string {
	return strings.TrimPrefix(subject, t.prefix+".intake.")
}

// RejectedSubject is where intake goes that does not validate.
func (t Topology) RejectedSubject(destination string) string {
	return t.prefix + ".rejected." + destination
}

// DeliverSubject is the subject of an emitted id.
func (t Topology) DeliverSubject(destination string, id message.ID) string {
	return t.prefix + ".deliver." + destination + "." + id.String()
}

// DeliverSubjects is what a destination's senders consume. It never matches the
// schedules that wait on Park.
func (t Topology) DeliverSubjects(destination string) string {
	return t.prefix + ".deliver." + destination + ".*"
}

// RetrySubject is the subject on which the schedule of a retry waits.
func (t Topology) RetrySubject(destination string, id message.ID) string {
	return t.prefix + ".retry." + destination + "." + id.String()
}

// EventSubject is the subject of an event.
func (t Topology) EventSubject(kind message.EventType, destination string) string {
	return t.prefix + ".events." + string(kind) + "." + destination
}

// EventSubjects matches every event of a kind.
func (t Topology) EventSubjects(kind message.EventType) string {
	return t.prefix + ".events." + string(kind) + ".>"
}

// ControlSubject is the subject of a control request: start, stop, status or
// configure.
func (t Topology) ControlSubject(verb string) string { return t.prefix + ".control." + verb }

// MessagesSubject is the subject of a message request: create, get, list, cancel or
// retry.
func (t Topology) MessagesSubject(verb string) string { return t.prefix + ".messages." + verb }

// SenderConsumer is the durable consumer that a destination's senders share.
func (t Topology) SenderConsumer(destination string) string { return "sender-" + destination }

// Streams lists the configuration of every stream.
func (t Topology) Streams() []natsjs.StreamConfig {
	return []natsjs.StreamConfig{
		{
			Name:        t.IntakeStream(),
			Description: "Messages published by other systems, until they are stored in Postgres",
			Subjects:    []string{t.prefix + ".intake.>"},
			Retention:   natsjs.WorkQueuePolicy,
			Storage:     natsjs.FileStorage,
			Replicas:    t.replicas,
			Discard:     natsjs.DiscardNew, // a full stream refuses with an error; it drops nothing
			MaxBytes:    t.limits.Intake,
			Duplicates:  IntakeWindow,
		},
		{
			Name:        t.RejectedStream(),
			Description: "Intake that did not validate, with the problem in its headers",
			Subjects:    []string{t.prefix + ".rejected.>"},
			Storage:     natsjs.FileStorage,
			Replicas:    t.replicas,
			MaxAge:      RejectedMaxAge,
			MaxBytes:    t.limits.Rejected,
			Discard:     natsjs.DiscardOld, // else one that can't be rejected would stay in the intake for ever
		},
		{
			// With schedules the server can't refuse new messages, it drops
			// the oldest beyond the limit. So nothing is emitted any more
			// long before (see Filling).
			Name:              t.DeliveriesStream(),
			Description:       "Emitted ids, a subject each, and the schedules of their retries",
			Subjects:          []string{t.prefix + ".deliver.*.*", t.prefix + ".retry.*.*"},
			Retention:         natsjs.WorkQueuePolicy,
			Storage:           natsjs.FileStorage,
			Replicas:          t.replicas,
			MaxBytes:          t.limits.Deliveries,
			MaxMsgsPerSubject: 1, // a newer copy of an id replaces the older
			AllowMsgSchedules: true,
			Duplicates:        DeliveriesWindow,
		},
		{
			Name:        t.EventsStream(),
			Description: "What happened to every message, as CloudEvents",
			Subjects:    []string{t.prefix + ".events.>"},
			Storage:     natsjs.FileStorage,
			Replicas:    t.replicas,
			MaxAge:      EventsMaxAge,
			MaxBytes:    t.limits.Events,
			Discard:     natsjs.DiscardNew, // TrimEvents makes room, of what is recorded alone
			Duplicates:  EventsWindow,
		},
		{
			Name:        t.ChangesStream(),
			Description: "Which messages have changed, a note for all that changed together, for the copy in Redis",
			Subjects:    []string{t.ChangesSubject()},
			Storage:     natsjs.FileStorage,
			Replicas:    t.replicas,
			MaxAge:      EventsMaxAge,
			MaxBytes:    t.limits.Changes,
			Discard:     natsjs.DiscardOld, // Redis may know less of what is long ago; nothing else may wait for it
			Duplicates:  EventsWindow,
		},
	}
}

// OutcomeSubjects are the subjects of the events that can tell of a sender's outcome.
func (t Topology) OutcomeSubjects() []string {
	return []string{
		t.EventSubjects(message.EventAttempted), t.EventSubjects(message.EventSent), t.EventSubjects(message.EventFailed), t.EventSubjects(message.EventExpired),
	}
}

// Consumer pairs a consumer's configuration with its stream.
type Consumer struct {
	Stream string
	Config natsjs.ConsumerConfig
}

// Consumers lists every durable consumer for the given destinations.
func (t Topology) Consumers(destinations []string) []Consumer {
	consumers := []Consumer{
		{t.IntakeStream(), natsjs.ConsumerConfig{
			Durable:       IntakeConsumer,
			Description:   "Stores intake in Postgres",
			AckPolicy:     natsjs.AckExplicitPolicy,
			AckWait:       intakeAckWait,
			MaxDeliver:    -1,
			MaxAckPending: maxAckPending,
		}},
		{t.EventsStream(), natsjs.ConsumerConfig{
			Durable:        RecorderConsumer,
			Description:    "Writes the senders' outcomes to Postgres",
			FilterSubjects: t.OutcomeSubjects(),
			AckPolicy:      natsjs.AckExplicitPolicy,
			AckWait:        recorderAckWait,
			MaxDeliver:     -1,
			MaxAckPending:  maxAckPending,
		}},
		{t.ChangesStream(), natsjs.ConsumerConfig{
			Durable:       CacheConsumer,
			Description:   "Copies states to Redis",
			AckPolicy:     natsjs.AckExplicitPolicy,
			AckWait:       recorderAckWait,
			MaxDeliver:    -1,
			MaxAckPending: maxAckPending,
		}},
	}
	for _, destination := range destinations {
		consumers = append(consumers, Consumer{t.DeliveriesStream(), natsjs.ConsumerConfig{
			Durable:       t.SenderConsumer(destination),
			Description:   "Delivers to the webhook of " + destination,
			FilterSubject: t.DeliverSubjects(destination),
			AckPolicy:     natsjs.AckExplicitPolicy,
			AckWait:       SenderAckWait,
			MaxDeliver:    -1, // endings are ours: past MaxDeliver a message would lie in the stream for ever
			MaxAckPending: maxAckPending,
		}})
	}
	return consumers
}
