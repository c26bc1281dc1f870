package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fatih/color"
	"golang.org/x/term"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// show prints a value as JSON or, for people, the table that fill makes.
func show(out io.Writer, asJSON bool, value any, fill func(*table)) error {
	if asJSON {
		return printJSON(out, value, "  ")
	}
	var t table
	fill(&t)
	return t.write(out)
}

// printJSON prints a value with that indent; with none it is one line.
func printJSON(out io.Writer, value any, indent string) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", indent)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// isTerminal reports whether somebody looks at what is written.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// coloured reports whether a writer gets colours: only a terminal does, and
// none that asks for none (https://no-color.org).
func coloured(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// The styles, by what they say.
var (
	styleHead   = style(color.Bold)
	styleQuiet  = style(color.Faint)
	styleGood   = style(color.FgGreen)
	styleBad    = style(color.FgRed)
	styleWait   = style(color.FgYellow)
	styleUnder  = style(color.FgCyan) // under way
	statusStyle = map[message.Status]*color.Color{
		message.Queued: styleUnder, message.Retrying: styleWait,
		message.Sent: styleGood, message.Failed: styleBad, message.Expired: styleBad, message.Cancelled: styleQuiet,
	}
)

// style is a colour that is always there: who writes decides whether to use it.
func style(attribute color.Attribute) *color.Color {
	c := color.New(attribute)
	c.EnableColor()
	return c
}

// cell is a text of a table, with a style or nil.
type cell struct {
	text  string
	style *color.Color
}

// table lines texts up in columns. Columns are measured before colours are put
// in, which have no width.
type table struct{ rows [][]cell }

// head adds the titles of the columns.
func (t *table) head(titles ...string) {
	row := make([]cell, len(titles))
	for i, title := range titles {
		row[i] = cell{title, styleHead}
	}
	t.rows = append(t.rows, row)
}

// row adds a row of cells, states, or anything that fmt.Sprint prints.
func (t *table) row(values ...any) {
	row := make([]cell, len(values))
	for i, value := range values {
		switch v := value.(type) {
		case cell:
			row[i] = v
		case message.Status:
			row[i] = cell{string(v), statusStyle[v]}
		default:
			row[i] = cell{text: fmt.Sprint(v)}
		}
		row[i].text = printable(row[i].text)
	}
	t.rows = append(t.rows, row)
}

func (t *table) write(out io.Writer) error {
	var widths []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	colours := coloured(out)
	var text strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for i, c := range row {
			padding := widths[i] - utf8.RuneCountInString(c.text)
			line.WriteString(c.paint(colours))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", padding+2))
			}
		}
		text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func (c cell) paint(colours bool) string {
	if !colours || c.style == nil || c.text == "" {
		return c.text
	}
	return c.style.Sprint(c.text)
}

// printable makes a text from outside harmless on a terminal, where control
// characters are orders, and keeps it in its line.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || r == utf8.RuneError {
			return '·'
		}
		return r
	}, text)
}

func stamp(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}
