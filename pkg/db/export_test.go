package db

// ListStatement is the statement of a List.
var ListStatement = listStatement

// ArrivalsLock is what those share who emit on arrival.
const ArrivalsLock = arrivalsLock

// ForgetBacklog has the next OutboxBacklog measure, however long the last took.
func (s *Store) ForgetBacklog() { s.outbox.took = 0 }
