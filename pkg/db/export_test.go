package db

// ListStatement is the statement of a List.
var ListStatement = listStatement

// MigrationLock is what a step of the schema holds.
const MigrationLock int64 = migrationLock
