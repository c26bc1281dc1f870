// Package migrations carries the schema: files NNNN_name.{up,down}.sql, each
// pair one step, applied in order by pkg/db.
package migrations

import "embed"

// Files holds every migration. Names follow golang-migrate.
//
//go:embed *.sql
var Files embed.FS
