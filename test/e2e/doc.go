// Package e2e tests whole installations from the outside: HTTP, NATS, the
// command, and the documentation that describes them. The services run in the
// test process, or as processes of their own where a test needs that.
package e2e
