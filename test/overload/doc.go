// Package overload gives an installation more than it can take, or removes what
// it needs: more messages than the webhook accepts, thousands of slow clients,
// full streams, full disks, no free connections, deleted consumers and streams.
// Each test ends with the checker: nothing is lost, nothing is left over, nothing
// was sent twice.
package overload
