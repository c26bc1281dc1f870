// Package backpressure decides when a sender must hold back: while something
// that it needs is away (Outage), while the senders together have too many
// delayed naks (NakBudget), and while this machine can't open connections
// (LocalFailures).
package backpressure
