package events

import "time"

// Metadata is what a service registers with: the prefix, so that
// installations on one NATS don't count each other's instances, and since
// when it runs. (Statistics tell that too, but the micro package sets it
// after it has begun to answer, which is a race.)
func (t Topology) Metadata() map[string]string {
	return map[string]string{"prefix": t.prefix, "since": time.Now().UTC().Format(time.RFC3339Nano)}
}
