package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/events"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestTheExamplesAreAsDescribed(t *testing.T) {
	t.Parallel()
	a, err := readAsyncAPI()
	require.NoError(t, err)
	for _, c := range a.channels {
		for _, m := range c.messages {
			require.True(t, len(m.examples) > 0 || m.mayBeEmpty, "%s has no example", m.name)
			for _, example := range m.examples {
				if headers, given := example["headers"]; given {
					require.NoError(t, m.headers.Validate(headers), "%s: %v", m.name, example["name"])
				}
				data, err := json.Marshal(example["payload"])
				require.NoError(t, err)
				require.NoError(t, a.checkPayload(m, data), "%s: %v", m.name, example["name"])
			}
		}
	}
}

// TestBothDescriptionsSayTheSame compares the schemas that HTTP and NATS share:
// what is said of NATS is said of HTTP too, which may know more.
func TestBothDescriptionsSayTheSame(t *testing.T) {
	t.Parallel()
	over, err := readDocument("../../docs/" + asyncAPIFile)
	require.NoError(t, err)
	http, err := readDocument("../../services/ingest/httpapi/docs/openapi.yaml")
	require.NoError(t, err)
	var shared []string
	for name, schema := range over.get("components", "schemas") {
		if same := http.get("components", "schemas")[name]; same != nil {
			requirePart(t, same, schema, name)
			shared = append(shared, name)
		}
	}
	require.Subset(t, shared, []string{"NewMessage", "Message", "Page", "Overview", "Pace", "Problem", "Attempt"})
}

func requirePart(t *testing.T, whole, part any, at string) {
	t.Helper()
	switch part := part.(type) {
	case map[string]any:
		require.IsType(t, part, whole, at)
		for name, value := range part {
			if name != "description" {
				require.Contains(t, whole, name, at)
				requirePart(t, whole.(map[string]any)[name], value, at+"."+name)
			}
		}
	case []any:
		require.Subset(t, whole, part, at)
	default:
		require.Equal(t, whole, part, at)
	}
}

// TestTheSubjectsAndStreamsAreAsDescribed compares the description with the
// topology.
func TestTheSubjectsAndStreamsAreAsDescribed(t *testing.T) {
	t.Parallel()
	a, err := readAsyncAPI()
	require.NoError(t, err)
	top := events.NewTopology("dispatch", 1)
	var id message.ID
	addresses := map[string]string{} // and their streams
	for _, c := range a.channels {
		if c.address != "" {
			addresses[c.address] = c.stream
		}
	}
	withID := func(subject string) string { return strings.ReplaceAll(subject, id.String(), "{id}") }
	subjects := map[string]string{
		top.WakeSubject():                               "",
		top.ChangesSubject():                            top.ChangesStream(),
		top.IntakeSubject("{destination}"):              top.IntakeStream(),
		top.RejectedSubject("{destination}"):            top.RejectedStream(),
		withID(top.DeliverSubject("{destination}", id)): top.DeliveriesStream(),
		withID(top.RetrySubject("{destination}", id)):   top.DeliveriesStream(),
	}
	for _, kind := range message.EventTypes() {
		subjects[top.EventSubject(kind, "{destination}")] = top.EventsStream()
	}
	for subject := range addresses { // what services answer is compared with the running ones
		if strings.HasPrefix(subject, top.ControlSubject("")) || strings.HasPrefix(subject, top.MessagesSubject("")) {
			subjects[subject] = ""
		}
	}
	require.Equal(t, subjects, addresses)

	var streams []any
	for _, config := range top.Streams() {
		streams = append(streams, describeStream(t, config, top))
	}
	described, _ := a.document["x-streams"].([]any)
	for _, stream := range described {
		delete(stream.(map[string]any), "description")
	}
	require.Equal(t, streams, described)
}

// describeStream writes a stream's configuration as the description has it.
func describeStream(t *testing.T, config natsjs.StreamConfig, top events.Topology) map[string]any {
	t.Helper()
	encoded, err := json.Marshal(config)
	require.NoError(t, err)
	var plain map[string]any
	require.NoError(t, json.Unmarshal(encoded, &plain))
	stream := map[string]any{}
	for _, name := range []string{"name", "subjects", "retention", "storage", "discard"} {
		stream[name] = plain[name]
	}
	var consumers []any
	for _, consumer := range top.Consumers([]string{message.DefaultDestination}) {
		if consumer.Stream == config.Name {
			consumers = append(consumers, consumer.Config.Durable)
		}
	}
	for name, value := range map[string]any{
		"maxAge": config.MaxAge.String(), "duplicateWindow": config.Duplicates.String(),
		"maxBytes": int(config.MaxBytes), "maxMessagesPerSubject": int(config.MaxMsgsPerSubject),
		"schedules": config.AllowMsgSchedules,
	} {
		if value != "0s" && value != 0 && value != false {
			stream[name] = value
		}
	}
	if consumers != nil {
		stream["consumers"] = consumers
	}
	return stream
}
