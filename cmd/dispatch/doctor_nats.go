package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// oldestNATS is the oldest server that is supported: retries wait in message
// schedules, which older ones lack, wholly or in part.
var oldestNATS = [2]int{2, 14}

func (d *doctor) nats(ctx context.Context) {
	const check = "nats"
	cfg := d.cfg.Provision.NATS
	var refusals refusals
	js, err := connectNATS(cfg.URL, nats.ErrorHandler(refusals.hear))
	switch {
	case errors.Is(err, errRefused):
		d.away(check, err, "correct the user and the password, or the token, in NATS_URL")
		return
	case err != nil:
		d.away(check, err, "see that it runs, that this machine may connect, and that NATS_URL is right")
		return
	}
	defer events.Close(js)
	version := js.Conn().ConnectedServerVersion()
	if tooOld(version) {
		d.wrong(check, "reachable, version "+version, fmt.Sprintf("upgrade it to version %d.%d or later", oldestNATS[0], oldestNATS[1]))
	} else {
		d.good(check, "reachable, version "+version)
	}
	bounded, cancel := context.WithTimeout(ctx, 2*reachWait)
	defer cancel()
	d.natsPermissions(bounded, js.Conn(), &refusals)
	account, err := js.AccountInfo(refusals.until(bounded))
	switch told := refusals.last(); {
	case err != nil && told != "":
		d.wrong(check, "this user may not use JetStream: "+told, allowSubjects)
		return
	case err != nil:
		d.wrong(check, "JetStream does not answer: "+err.Error(), "start the server with JetStream (-js, or jetstream in its configuration), and enable it for the account")
		return
	}
	d.good(check, fmt.Sprintf("JetStream is on, with %d streams", account.Streams))
	topology := d.cfg.Provision.Topology()
	sent := time.Now()
	stream, err := js.Stream(bounded, topology.EventsStream())
	if err == nil { // if not, there is more to say about it below
		d.clock(check, stream.CachedInfo().TimeStamp, sent, time.Now())
	}
	for _, wanted := range topology.Streams() {
		d.stream(bounded, js, wanted)
	}
	for _, wanted := range topology.Consumers([]string{message.DefaultDestination}) {
		d.consumer(bounded, js, wanted)
	}
}

func tooOld(version string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n < 2 {
		return false // a build of one's own
	}
	return slices.Compare([]int{major, minor}, oldestNATS[:]) < 0
}

// setting is one that must be as the topology has it.
type setting struct {
	name           string
	wanted, actual any
}

// deviations lists the settings that differ, for people.
func deviations(settings []setting) string {
	var differ []string
	for _, s := range settings {
		if wanted, actual := fmt.Sprint(s.wanted), fmt.Sprint(s.actual); wanted != actual {
			differ = append(differ, fmt.Sprintf("%s is %s, not %s", s.name, actual, wanted))
		}
	}
	return strings.Join(differ, "; ")
}

const provisionStreams = "run: dispatch provision, with the environment of the services (PREFIX, NATS_REPLICAS); what it can't change it says"

func (d *doctor) stream(ctx context.Context, js jetstream.JetStream, wanted jetstream.StreamConfig) {
	const check = "stream"
	stream, err := js.Stream(ctx, wanted.Name)
	if err != nil {
		d.missing(check, wanted.Name, err, jetstream.ErrStreamNotFound)
		return
	}
	info := stream.CachedInfo()
	actual := info.Config
	settings := []setting{
		{"subjects", wanted.Subjects, actual.Subjects},
		{"retention", wanted.Retention, actual.Retention},
		{"storage", wanted.Storage, actual.Storage},
		{"replicas", wanted.Replicas, actual.Replicas},
		{"discard", wanted.Discard, actual.Discard},
		{"max age", wanted.MaxAge, actual.MaxAge},
		{"max bytes", unlimited(wanted.MaxBytes), actual.MaxBytes},
		{"max messages", unlimited(wanted.MaxMsgs), actual.MaxMsgs},
		{"max messages per subject", unlimited(wanted.MaxMsgsPerSubject), actual.MaxMsgsPerSubject},
		{"message schedules", wanted.AllowMsgSchedules, actual.AllowMsgSchedules},
		{"sealed", false, actual.Sealed},
	}
	if wanted.Duplicates > 0 { // without one the server has a default of its own
		settings = append(settings, setting{"duplicate window", wanted.Duplicates, actual.Duplicates})
	}
	if differ := deviations(settings); differ != "" {
		d.wrong(check, wanted.Name+": "+differ, provisionStreams)
		return
	}
	d.good(check, fmt.Sprintf("%s is as it should be, %d messages", wanted.Name, info.State.Msgs))
}

// unlimited is how the server writes a limit that is not set.
func unlimited(limit int64) int64 {
	if limit == 0 {
		return -1
	}
	return limit
}

func (d *doctor) consumer(ctx context.Context, js jetstream.JetStream, wanted events.Consumer) {
	const check = "consumer"
	name := wanted.Config.Durable + " of " + wanted.Stream
	consumer, err := js.Consumer(ctx, wanted.Stream, wanted.Config.Durable)
	if err != nil {
		d.missing(check, name, err, jetstream.ErrConsumerNotFound, jetstream.ErrStreamNotFound)
		return
	}
	info := consumer.CachedInfo()
	actual := info.Config
	differ := deviations([]setting{
		{"filter", wanted.Config.FilterSubject, actual.FilterSubject},
		{"filters", wanted.Config.FilterSubjects, actual.FilterSubjects},
		{"ack policy", wanted.Config.AckPolicy, actual.AckPolicy},
		{"ack wait", wanted.Config.AckWait, actual.AckWait},
		{"max deliver", wanted.Config.MaxDeliver, actual.MaxDeliver},
		{"max ack pending", wanted.Config.MaxAckPending, actual.MaxAckPending},
		{"backoff", wanted.Config.BackOff, actual.BackOff},
		{"headers only", wanted.Config.HeadersOnly, actual.HeadersOnly},
	})
	switch {
	case differ != "":
		d.wrong(check, name+": "+differ, provisionStreams)
	case info.Paused:
		d.wrong(check, name+" is paused", fmt.Sprintf("resume it: nats consumer resume %s %s", wanted.Stream, wanted.Config.Durable))
	default:
		d.good(check, fmt.Sprintf("%s is as it should be, %d to come, %d under way", name, info.NumPending, info.NumAckPending))
	}
}

// missing tells what is not there from what could not be asked for.
func (d *doctor) missing(check, name string, err error, notFound ...error) {
	for _, expected := range notFound {
		if errors.Is(err, expected) {
			d.wrong(check, name+" is missing", provisionStreams)
			return
		}
	}
	d.away(check, fmt.Errorf("%s: %w", name, err), "see the log of NATS")
}
