package db

// ListStatement is the statement of a List.
var ListStatement = listStatement

// FastPathLock is what those share who emit on arrival.
const FastPathLock = fastPathLock

// ForgetBacklog has the next OutboxBacklog measure, however long the last took.
func (s *Store) ForgetBacklog() { s.outbox.took = 0 }
