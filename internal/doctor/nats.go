package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/internal/cli/connect"
	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/jetstream"
	"github.com/message-dispatcher/dispatch/pkg/jetstream/streams"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func (d *doctor) nats(ctx context.Context) {
	const check = "nats"
	cfg := d.cfg.Provision.NATS
	var refusals refusals
	js, err := connect.NATS(jetstream.Access(cfg.NATSAccess), d.cfg.Provision.Topology(), nats.ErrorHandler(refusals.hear))
	switch {
	case errors.Is(err, connect.ErrRefused):
		d.away(check, err, natsRemedy(err))
		return
	case err != nil:
		d.away(check, err, "check that it runs, that this machine may connect, and that NATS_URL is right")
		return
	}
	defer js.Close()
	version := js.Conn().ConnectedServerVersion()
	if jetstream.CheckVersion(version) != nil {
		d.wrong(check, "reachable, version "+version, upgradeNATS)
	} else {
		d.good(check, "reachable, version "+version)
	}
	d.maxPayload(js.Conn().MaxPayload(), jetstream.PayloadNeeds{
		MaxPayloadBytes: d.cfg.Ingest.MaxPayloadBytes, FullContent: d.cfg.Ingest.EventContent == "full",
	}.Missing(js.Conn()))
	bounded, cancel := context.WithTimeout(ctx, 2*connect.Patience)
	defer cancel()
	d.natsPermissions(bounded, js.Conn(), &refusals)
	account, err := js.AccountInfo(refusals.until(bounded))
	switch refused := refusals.last(); {
	case err != nil && refused != "":
		d.wrong(check, "this user may not use JetStream: "+refused, allowSubjects)
		return
	case err != nil:
		d.wrong(check, "JetStream does not answer: "+err.Error(), "start the server with JetStream (-js, or jetstream in its configuration), and enable it for the account")
		return
	}
	d.good(check, fmt.Sprintf("JetStream is on, with %d streams", account.Streams))
	sent := time.Now()
	stream, err := js.Stream(bounded, js.EventsStream())
	if err == nil { // if not, the check of the stream reports it
		d.clock(check, stream.CachedInfo().TimeStamp, sent, time.Now())
	}
	for _, wanted := range js.Streams() {
		d.stream(bounded, js, wanted)
	}
	for _, wanted := range js.Consumers([]string{message.DefaultDestination}) {
		d.consumer(bounded, js, wanted)
	}
}

var upgradeNATS = fmt.Sprintf("upgrade it to version %d.%d or later", jetstream.OldestNATS[0], jetstream.OldestNATS[1])

// maxPayload checks the largest message that the server accepts.
func (d *doctor) maxPayload(limit int64, missing string) {
	const check = "nats"
	remedy := "raise max_payload in the configuration of the NATS server"
	switch {
	case limit < jetstream.LeastMaxPayload:
		d.wrong(check, fmt.Sprintf("max_payload is %d bytes, and has to be at least %d", limit, jetstream.LeastMaxPayload), remedy)
	case missing != "":
		d.wrong(check, missing, remedy+", or lower MAX_PAYLOAD_BYTES")
	}
}

// natsRemedy says what to do about a server that was reached but refuses the
// connection.
func natsRemedy(err error) string {
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "set NATS_CA to the file with the certificate of the authority that signed the server's"
	case errors.As(err, new(x509.HostnameError)):
		return "use a name in NATS_URL that is in the server's certificate"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "renew the server's certificate, and check this machine's clock"
	case errors.As(err, new(tls.RecordHeaderError)), errors.Is(err, nats.ErrSecureConnWanted):
		return "it does not speak TLS on this port: correct NATS_URL, and leave NATS_CA and NATS_CERT unset"
	case errors.As(err, new(*net.OpError)), errors.Is(err, nats.ErrTLS):
		return "set NATS_CERT and NATS_KEY to a client certificate that the server accepts"
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return "get new credentials, and put them into the file of NATS_CREDS"
	case errors.Is(err, nats.ErrMaxConnectionsExceeded), errors.Is(err, nats.ErrMaxAccountConnectionsExceeded):
		return "raise max_connections of the server or the account"
	}
	return "correct the user and the password, or the token, in NATS_URL, or the file of NATS_CREDS or NATS_NKEY"
}

const provisionStreams = "run: dispatch provision, with the environment of the services (PREFIX, NATS_REPLICAS); it reports what it can't change"

func (d *doctor) stream(ctx context.Context, js *jetstream.Client, wanted natsjs.StreamConfig) {
	const check = "stream"
	stream, err := js.Stream(ctx, wanted.Name)
	if err != nil {
		d.missing(check, wanted.Name, err, natsjs.ErrStreamNotFound)
		return
	}
	info := stream.CachedInfo()
	actual := info.Config
	if err := jetstream.CheckVersion(actual.Metadata["_nats.ver"]); err != nil { // another server of the cluster, or the hub of a leaf node
		d.wrong(check, fmt.Sprintf("%s is on another server: %s", wanted.Name, err), upgradeNATS)
	}
	if differ := streams.StreamDifferences(wanted, actual); len(differ) > 0 {
		d.wrong(check, wanted.Name+": "+strings.Join(differ, "; "), provisionStreams)
		return
	}
	d.good(check, fmt.Sprintf("%s is as expected, %d messages", wanted.Name, info.State.Msgs))
}

func (d *doctor) consumer(ctx context.Context, js *jetstream.Client, wanted events.Consumer) {
	const check = "consumer"
	name := wanted.Config.Durable + " of " + wanted.Stream
	consumer, err := js.Consumer(ctx, wanted.Stream, wanted.Config.Durable)
	if err != nil {
		d.missing(check, name, err, natsjs.ErrConsumerNotFound, natsjs.ErrStreamNotFound)
		return
	}
	info := consumer.CachedInfo()
	differ := streams.ConsumerDifferences(wanted.Config, info.Config)
	switch {
	case len(differ) > 0:
		d.wrong(check, name+": "+strings.Join(differ, "; "), provisionStreams)
	case info.Paused:
		d.wrong(check, name+" is paused", fmt.Sprintf("resume it: nats consumer resume %s %s", wanted.Stream, wanted.Config.Durable))
	default:
		d.good(check, fmt.Sprintf("%s is as expected, %d to deliver, %d in progress", name, info.NumPending, info.NumAckPending))
	}
}

// missing distinguishes what does not exist from a request that failed.
func (d *doctor) missing(check, name string, err error, notFound ...error) {
	for _, expected := range notFound {
		if errors.Is(err, expected) {
			d.wrong(check, name+" is missing", provisionStreams)
			return
		}
	}
	d.away(check, fmt.Errorf("%s: %w", name, err), "see the log of NATS")
}
