package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"github.com/golang-migrate/migrate/v4/database"

	"github.com/message-dispatcher/dispatch/pkg/crash"
)

// steps makes a step of the schema and its version one transaction. The driver
// beneath notes a version as dirty, runs its statements, and clears the note:
// killed in between, it would leave a schema that only a person can judge, and
// every later provision would refuse to work.
//
// It belongs to one goroutine.
type steps struct {
	database.Driver // holds the lock, and tells the version
	sql             *sql.DB
	tx              *sql.Tx // of the step that is being made
}

// SetVersion begins a step when it is told that the schema is about to be
// dirty, and commits it when that is over. Whoever reads the version meanwhile
// reads the old one.
func (s *steps) SetVersion(version int, dirty bool) error {
	if dirty || s.tx == nil {
		if err := s.begin(version); err != nil {
			return err
		}
	}
	if dirty {
		return nil
	}
	crash.At(crash.ProvisionStep)
	tx := s.tx
	s.tx = nil
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit version %d of the schema: %w", version, err)
	}
	return nil
}

func (s *steps) begin(version int) error {
	if err := s.rollback(); err != nil {
		return err
	}
	var err error
	if s.tx, err = s.sql.BeginTx(context.Background(), nil); err != nil {
		return fmt.Errorf("begin version %d of the schema: %w", version, err)
	}
	if _, err = s.tx.ExecContext(context.Background(), "DELETE FROM schema_migrations"); err == nil && version >= 0 {
		_, err = s.tx.ExecContext(context.Background(), "INSERT INTO schema_migrations (version, dirty) VALUES ($1, false)", version)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write version %d of the schema: %w", version, err), s.rollback())
	}
	return nil
}

// Run makes the statements of a step.
func (s *steps) Run(migration io.Reader) error {
	statements, err := io.ReadAll(migration)
	if err != nil {
		return fmt.Errorf("read a step of the schema: %w", err)
	}
	if _, err := s.tx.ExecContext(context.Background(), string(statements)); err != nil {
		return errors.Join(err, s.rollback())
	}
	return nil
}

func (s *steps) rollback() error {
	if s.tx == nil {
		return nil
	}
	tx := s.tx
	s.tx = nil
	if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		return fmt.Errorf("take a step of the schema back: %w", err)
	}
	return nil
}
