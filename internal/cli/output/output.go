package output

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

// Show prints a value as JSON or, for people, the table that fill makes.
func Show(out io.Writer, asJSON bool, value any, fill func(*Table)) error {
	if asJSON {
		return JSON(out, value, "  ")
	}
	var t Table
	fill(&t)
	return t.write(out)
}

// JSON prints a value with that indent; with none it is one line.
func JSON(out io.Writer, value any, indent string) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", indent)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// IsTerminal reports whether somebody looks at what is written.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Coloured reports whether a writer gets colours: only a terminal does, and
// none that asks for none (https://no-color.org).
func Coloured(w io.Writer) bool {
	return IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// The styles, by what they say.
var (
	styleHead   = style(color.Bold)
	StyleQuiet  = style(color.Faint)
	StyleGood   = style(color.FgGreen)
	StyleBad    = style(color.FgRed)
	StyleWait   = style(color.FgYellow)
	StyleUnder  = style(color.FgCyan) // under way
	statusStyle = map[message.Status]*color.Color{
		message.Queued: StyleUnder, message.Retrying: StyleWait,
		message.Sent: StyleGood, message.Failed: StyleBad, message.Expired: StyleBad, message.Cancelled: StyleQuiet,
	}
)

// Style is a colour that is always there: who writes decides whether to use it.
func style(attribute color.Attribute) *color.Color {
	c := color.New(attribute)
	c.EnableColor()
	return c
}

// Cell is a text of a table, with a style or nil.
type Cell struct {
	Text  string
	Style *color.Color
}

// Styled is a cell with a style.
func Styled(text string, style *color.Color) Cell { return Cell{text, style} }

// Table lines texts up in columns. Columns are measured before colours are put
// in, which have no width.
type Table struct{ rows [][]Cell }

// Head adds the titles of the columns.
func (t *Table) Head(titles ...string) {
	row := make([]Cell, len(titles))
	for i, title := range titles {
		row[i] = Cell{title, styleHead}
	}
	t.rows = append(t.rows, row)
}

// Row adds a Row of cells, states, or anything that fmt.Sprint prints.
func (t *Table) Row(values ...any) {
	row := make([]Cell, len(values))
	for i, value := range values {
		switch v := value.(type) {
		case Cell:
			row[i] = v
		case message.Status:
			row[i] = Cell{string(v), statusStyle[v]}
		default:
			row[i] = Cell{Text: fmt.Sprint(v)}
		}
		row[i].Text = Printable(row[i].Text)
	}
	t.rows = append(t.rows, row)
}

func (t *Table) write(out io.Writer) error {
	var widths []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.Text))
		}
	}
	colours := Coloured(out)
	var text strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for i, c := range row {
			padding := widths[i] - utf8.RuneCountInString(c.Text)
			line.WriteString(c.Paint(colours))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", padding+2))
			}
		}
		text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func (c Cell) Paint(colours bool) string {
	if !colours || c.Style == nil || c.Text == "" {
		return c.Text
	}
	return c.Style.Sprint(c.Text)
}

// Printable makes a text from outside harmless on a terminal, where control
// characters are orders, and keeps it in its line.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || r == utf8.RuneError {
			return '·'
		}
		return r
	}, text)
}

func Time(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}
