package events

// Sizes are the bytes that each stream may hold. JetStream reserves them, once
// for each copy of a stream.
type Sizes struct{ Intake, Rejected, Deliveries, Events, Changes int64 }

// DefaultSizes fit three copies of every stream into an account of 5 GB.
var DefaultSizes = Sizes{Intake: 256 << 20, Rejected: 64 << 20, Deliveries: 256 << 20, Events: 512 << 20, Changes: 128 << 20}

// WithSizes returns the topology with streams of these sizes.
func (t Topology) WithSizes(sizes Sizes) Topology {
	t.sizes = sizes
	return t
}
