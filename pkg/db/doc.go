// Package db is everything Postgres: the schema's version, the pool, and the
// statements, in query/*.sql, by which messages move from state to state.
//
// A method that moves messages takes a box function, which makes of the moved
// messages what is to be published about them. The result is stored in the
// outbox in the same transaction, so that a move and its announcement are one.
package db
