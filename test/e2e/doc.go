// Package e2e tests whole installations from the outside: HTTP, NATS, the
// command, and the documentation that describes them. Most tests use a pipeline
// (pipeline_test.go), whose services run in the test's process. Tests that kill or
// freeze services use an installation of processes (installation_test.go).
package e2e
