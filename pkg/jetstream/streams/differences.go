package streams

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/message-dispatcher/dispatch/pkg/jetstream"
)

var (
	// evenZero are compared if they are not set, too: kinds whose zero is one of
	// them, limits that would drop or refuse messages, and what would keep
	// messages from a reader.
	evenZero = []string{
		"retention", "storage", "discard", "ack_policy", "deliver_policy",
		"max_msgs", "max_bytes", "max_age", "max_msgs_per_subject", "max_msg_size", "sealed",
		"backoff", "headers_only", "filter_subject", "filter_subjects", "opt_start_seq", "opt_start_time",
	}
	// unlimited are limits for which a server writes -1 if there is none.
	unlimited = []string{"max_msgs", "max_bytes", "max_msgs_per_subject", "max_msg_size"}
	// vital are those settings of a stream without which services do harm or
	// wait for ever. They ask for no others: a later release may change those.
	vital = []string{"retention", "allow_msg_schedules", "max_msgs_per_subject"}
)

// StreamDifferences lists what is not as requested of a stream, by NATS' own
// names.
func StreamDifferences(requested, actual natsjs.StreamConfig) []string {
	return differences(requested, actual, nil)
}

// ConsumerDifferences is StreamDifferences for a consumer.
func ConsumerDifferences(requested, actual natsjs.ConsumerConfig) []string {
	return differences(requested, actual, nil)
}

// differences compares every field that is set in requested, and those of
// evenZero. only are the names that count, all if it is nil.
func differences(requested, actual any, only []string) []string {
	var list []string
	one, other := reflect.ValueOf(requested), reflect.ValueOf(actual)
	for i := range one.NumField() {
		name, _, _ := strings.Cut(one.Type().Field(i).Tag.Get("json"), ",")
		if only != nil && !slices.Contains(only, name) {
			continue
		}
		wanted, found := one.Field(i), other.Field(i)
		if wanted.IsZero() && !slices.Contains(evenZero, name) {
			continue
		}
		texts := [2]string{text(name, wanted), text(name, found)}
		if texts[0] != texts[1] {
			list = append(list, fmt.Sprintf("%s is %s, not %s", name, texts[1], texts[0]))
		}
	}
	return list
}

func text(name string, value reflect.Value) string {
	if value.IsZero() && slices.Contains(unlimited, name) {
		return "-1"
	}
	return fmt.Sprint(value.Interface())
}

// conforms returns ErrNotAsRequested with what differs, if anything does.
func conforms(list []string) error {
	if len(list) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", jetstream.ErrNotAsRequested, strings.Join(list, "; "))
}
