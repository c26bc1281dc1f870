// Package recovery notices that Postgres has lost its newest commits, and
// restores from JetStream what can be restored.
//
// Postgres loses commits when it is restored, or when a standby takes over that
// had not received them. JetStream then knows more than Postgres: outcomes are
// acknowledged that Postgres does not have, and ids are on the work queue whose
// claim is lost. Nothing is emitted from the moment a loss is noticed until the
// repair has finished.
package recovery
