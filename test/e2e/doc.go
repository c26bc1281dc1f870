// Package e2e tests whole installations from the outside: HTTP, NATS, the
// command, and the documentation that describes them. Most tests use a pipeline
// (pipeline_test.go), whose services run in the test's process. Tests that kill or
// freeze services use an installation of processes (installation_test.go).
//
//	intake_*     messages come in by HTTP and NATS
//	dispatch_*   the pace, the fast path, the outbox relay, stop and start
//	delivery_*   senders, retries, redelivery
//	recorder_*, redis_*, erase_*, retention_*   what is kept, shown and deleted
//	outage_*     processes, servers and networks fail
//	nats_*, postgres_*   versions, permissions and limits of the servers
//	command_*    the dispatch program
//	docs_*       README, specifications, settings and metrics say what is true
//	repo_*       make, compose, versions and releases
package e2e
