package output

import (
	"io"
	"os"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// IsTerminal reports whether a person sees what is written.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Coloured reports whether a writer gets colours: a terminal does, unless it or
// the user asks for none (https://no-color.org).
func Coloured(w io.Writer) bool {
	return IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// Width is the number of columns of a terminal; 0 if the writer is none.
func Width(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Style is how a text looks. The zero value is plain.
type Style text.Color

// The styles, by what they say.
const (
	StyleHead    = Style(text.Bold)
	StyleQuiet   = Style(text.Faint)
	StyleGood    = Style(text.FgGreen)
	StyleBad     = Style(text.FgRed)
	StyleWaiting = Style(text.FgYellow)
	StyleActive  = Style(text.FgCyan)
)

var statusStyles = map[message.Status]Style{
	message.Queued: StyleActive, message.Retrying: StyleWaiting, message.Sent: StyleGood,
	message.Failed: StyleBad, message.Expired: StyleBad, message.Cancelled: StyleQuiet,
}

// Cell is a text with a style.
type Cell struct {
	Text  string
	Style Style
}

// Styled is a cell with a style.
func Styled(text string, style Style) Cell { return Cell{text, style} }

// Paint returns the text, with its style if colours are wanted.
func (c Cell) Paint(colours bool) string {
	if !colours || c.Style == 0 || c.Text == "" {
		return c.Text
	}
	return text.Color(c.Style).EscapeSeq() + c.Text + text.Reset.EscapeSeq()
}
