package events

// StreamLimits are the bytes that each stream may hold. JetStream reserves them, once
// for each copy of a stream.
type StreamLimits struct{ Intake, Rejected, Deliveries, Events, Changes int64 }

// DefaultStreamLimits fit three copies of every stream into an account of 5 GB.
var DefaultStreamLimits = StreamLimits{Intake: 256 << 20, Rejected: 64 << 20, Deliveries: 256 << 20, Events: 512 << 20, Changes: 128 << 20}

// WithStreamLimits returns the topology with streams of these sizes.
func (t Topology) WithStreamLimits(sizes StreamLimits) Topology {
	t.limits = sizes
	return t
}
