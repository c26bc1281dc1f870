// Package outbox publishes what a transaction has written to the outbox.
//
// The process that writes a row publishes it at once (Publisher, or the ticker
// for a claim). If it fails or dies, a relay publishes the row later:
//
//	row of events  → any relay, after AbandonedAfter; published as it is
//	row of a claim → any relay, after AbandonedAfter; under new claim numbers
package outbox
