// Package migrations contains the schema: files NNNN_name.{up,down}.sql. Each
// pair is one step, and pkg/db applies them in order.
package migrations

import "embed"

// Files contains every step. The file names follow golang-migrate.
//
//go:embed *.sql
var Files embed.FS
