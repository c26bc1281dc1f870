// Package output prints what commands have to say: JSON for programs, tables and
// colours for people.
package output

import (
	"encoding/json"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Show prints a value as JSON or, for people, the table that fill makes.
func Show(out io.Writer, asJSON bool, value any, fill func(*Table)) error {
	if asJSON {
		return JSON(out, value, "  ")
	}
	var t Table
	fill(&t)
	return t.write(out)
}

// JSON prints a value. With an empty indent it is one line.
func JSON(out io.Writer, value any, indent string) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", indent)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// Printable makes a text from outside safe for a terminal, where control
// characters are commands, and keeps it on one line.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || r == utf8.RuneError {
			return '·'
		}
		return r
	}, text)
}

// Time prints a time in the local time zone, and - for none.
func Time(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}
