// Package overload holds the tests that give an installation more than it can
// take, or take away what it needs: more messages than the webhook accepts,
// clients that are slow by the thousand, full streams, full disks, no
// connections left, components whose ground is pulled away. Each ends with the
// ledger: nothing is lost, nothing is left over, nothing was sent twice.
package overload
