package output

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

const (
	// gap is what lies between two columns.
	gap = 2
	// leastWidth is the width that the last column has at least.
	leastWidth = 16
)

// Table is rows of cells. If a terminal is too narrow for it, the last column is
// wrapped. If even that does not help, each row of a table with titles becomes a
// list of names and values.
type Table struct {
	titles []Cell // empty for a list of names and values
	rows   [][]Cell
}

// Head sets the titles of the columns.
func (t *Table) Head(titles ...string) {
	for _, title := range titles {
		t.titles = append(t.titles, Styled(title, StyleHead))
	}
}

// Row adds a row of cells, states, or anything that fmt.Sprint prints.
func (t *Table) Row(values ...any) {
	row := make([]Cell, len(values))
	for i, value := range values {
		switch v := value.(type) {
		case Cell:
			row[i] = v
		case message.Status:
			row[i] = Styled(string(v), statusStyles[v])
		default:
			row[i] = Cell{Text: fmt.Sprint(v)}
		}
		row[i].Text = Printable(row[i].Text)
	}
	t.rows = append(t.rows, row)
}

func (t *Table) write(out io.Writer) error {
	_, err := io.WriteString(out, t.render(Width(out), Coloured(out)))
	return err
}

// render lays the table out for a terminal of a width; 0 is any width.
func (t *Table) render(width int, colours bool) string {
	before, last := t.widths()
	left := width - before
	switch {
	case width == 0 || last <= left:
		left = 0 // it fits
	case left < min(leastWidth, last) && len(t.titles) > 0:
		return t.renderLists(width, colours)
	}
	w := table.NewWriter()
	w.SetStyle(plainStyle())
	w.SuppressTrailingSpaces()
	w.SetColumnConfigs([]table.ColumnConfig{{Number: t.columns(), WidthMax: max(left, 0), WidthMaxEnforcer: text.WrapSoft}})
	if len(t.titles) > 0 {
		w.AppendHeader(painted(t.titles, colours))
	}
	for _, row := range t.rows {
		w.AppendRow(painted(row, colours))
	}
	if rendered := w.Render(); rendered != "" {
		return rendered + "\n"
	}
	return ""
}

// renderLists makes a list of names and values of each row.
func (t *Table) renderLists(width int, colours bool) string {
	var lists []string
	for _, row := range t.rows {
		var list Table
		for i, cell := range row {
			if cell.Text != "" {
				list.Row(Styled(strings.ToLower(t.titles[i].Text), StyleHead), cell)
			}
		}
		lists = append(lists, list.render(width, colours))
	}
	return strings.Join(lists, "\n")
}

func (t *Table) columns() int {
	n := len(t.titles)
	for _, row := range t.rows {
		n = max(n, len(row))
	}
	return n
}

// widths returns the width of the last column, and of all before it with their gaps.
func (t *Table) widths() (before, last int) {
	widths := make([]int, t.columns()+1) // one too many, if there are none
	for _, row := range append([][]Cell{t.titles}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], text.StringWidthWithoutEscSequences(cell.Text))
		}
	}
	for i := range t.columns() - 1 {
		before += widths[i] + gap
	}
	return before, widths[max(t.columns()-1, 0)]
}

func plainStyle() table.Style {
	style := table.Style{Options: table.OptionsNoBordersAndSeparators}
	style.Box.PaddingRight = strings.Repeat(" ", gap)
	return style
}

func painted(row []Cell, colours bool) table.Row {
	cells := make(table.Row, len(row))
	for i, cell := range row {
		cells[i] = cell.Paint(colours)
	}
	return cells
}
