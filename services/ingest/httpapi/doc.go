// Package httpapi serves the HTTP API: routes, authentication, bodies, NDJSON
// streams, problem responses and the documentation page.
//
//	listener ──► middleware (api.go) ──► handler ──► accept, messages, erasure, control
//	             request id, key,        messages.go, batch.go, stream.go, operations.go
//	             problem, metrics
package httpapi
