package dbtest

import _ "embed"

// LoadSQL fills a database with messages of every status. It has one verb of
// fmt, the number of rows.
//
//go:embed load.sql
var LoadSQL string
