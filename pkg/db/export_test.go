package db

import (
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/message-dispatcher/dispatch/pkg/db/dbsqlc"
)

// ListStatement is the statement of a List.
var ListStatement = listStatement

// Statements is what the single statements of a Store run on.
func Statements(pool *pgxpool.Pool) dbsqlc.DBTX { return statements{pool} }

// ArrivalsLock is what those share who emit on arrival.
const ArrivalsLock = arrivalsLock

// ForgetBacklog has the next OutboxBacklog measure, however long the last took.
func (s *Store) ForgetBacklog() { s.outbox.took = 0 }
