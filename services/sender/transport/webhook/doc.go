// Package webhook delivers messages by HTTP. Client implements
// transport.Transport.
//
//	Client.Send ─► paths ─┬─ http1Client: one HTTP/1.1 host, with or without TLS
//	                      └─ standardClient (net/http): HTTP/2, proxies, large bodies
//
// The goroutine that sends a request through http1Client also reads the
// response. The Transport of net/http has two goroutines per connection for
// that, and waking them costs about as much as the request itself:
// docs/BENCHMARKS.md has the comparison.
//
// Both paths use checkedConn for HTTP/1.1. It keeps a request from getting the
// response of an earlier one, and knows whether a part of the request was
// written. So a request leaves once, and only one that was certainly not
// written is sent over another connection.
package webhook
