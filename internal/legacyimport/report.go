package legacyimport

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Sums are the counts of a table.
type Sums struct {
	DryRun   bool                     `json:"dryRun"`
	Table    string                   `json:"table"`
	Columns  map[string]string        `json:"columns"` // the column of each field
	Read     int64                    `json:"read"`
	Imported map[message.Status]int64 `json:"imported"`
	Repeated int64                    `json:"repeated"` // imported before
	Rejected int64                    `json:"rejected"`
}

// String formats the counts for people.
func (s Sums) String() string {
	imported := int64(0)
	for _, n := range s.Imported {
		imported += n
	}
	verb := "imported"
	if s.DryRun {
		verb = "to import"
	}
	return fmt.Sprintf("%d read: %d %s (%d PENDING, %d SENT, %d FAILED), %d imported before, %d rejected", s.Read, imported, verb,
		s.Imported[message.Pending], s.Imported[message.Sent], s.Imported[message.Failed], s.Repeated, s.Rejected)
}

// Reject is a row that is not a valid message.
type Reject struct {
	ID     string               `json:"id"`
	Errors []message.FieldError `json:"errors"`
	Row    map[string]any       `json:"row"` // by the names of its columns
}

// importReport prints the results of an import. Rejected rows and the progress go
// to standard error. The sums go to standard output, and with JSON the rejected
// rows too.
type importReport struct {
	out, errOut io.Writer
	json        bool
	from        *sourceTable
	rejects     *os.File // nil without --rejects
	bar         *output.Bar
	sums        Sums
}

func newImportReport(cmd *cobra.Command, flags importFlags, from *sourceTable) (*importReport, error) {
	r := &importReport{out: cmd.OutOrStdout(), errOut: cmd.ErrOrStderr(), json: flags.json, from: from}
	r.sums = Sums{DryRun: flags.dryRun, Table: from.name, Columns: map[string]string{}, Imported: map[message.Status]int64{
		message.Pending: 0, message.Sent: 0, message.Failed: 0,
	}}
	var fields []string
	for _, f := range sourceFields {
		if c := from.columns[f.name]; c.name != "" {
			r.sums.Columns[f.name] = c.name
			fields = append(fields, f.name+" is "+c.name)
		}
	}
	if flags.rejects != "" {
		file, err := os.OpenFile(flags.rejects, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, exit.Usage(fmt.Errorf("--rejects: %w", err))
		}
		r.rejects = file
	}
	if !r.json {
		fmt.Fprintf(r.errOut, "%s: %s\n", from.name, strings.Join(fields, ", "))
	}
	r.bar = output.NewBar(r.errOut, from.total)
	return r, nil
}

// imported counts a row that is a message.
func (r *importReport) imported(status message.Status, fresh bool) {
	if !fresh {
		r.sums.Repeated++
		return
	}
	r.sums.Imported[status]++
}

// rejected reports a row that is not a message.
func (r *importReport) rejected(row sourceRow, errs []message.FieldError) error {
	r.sums.Rejected++
	reject := Reject{ID: row.id, Errors: errs, Row: r.from.show(row)}
	if r.rejects != nil {
		if err := output.JSON(r.rejects, reject, ""); err != nil {
			return fmt.Errorf("write --rejects: %w", err)
		}
	}
	if r.json {
		return output.JSON(r.out, reject, "")
	}
	r.bar.Clear()
	texts := make([]string, len(errs))
	for i, m := range errs {
		texts[i] = strings.TrimSpace(m.Field + " " + m.Message)
	}
	name := output.Styled(output.Printable(row.id), output.StyleBad)
	_, err := fmt.Fprintf(r.errOut, "%s: %s\n", name.Paint(output.Coloured(r.errOut)), output.Printable(strings.Join(texts, "; ")))
	return err
}

// progress adds a number of rows that are done.
func (r *importReport) progress(rows int) {
	r.sums.Read += int64(rows)
	switch {
	case r.bar != nil:
		r.bar.Set("", r.sums.Read)
	case !r.json:
		fmt.Fprintln(r.errOut, r.sums)
	}
}

// finish prints the sums.
func (r *importReport) finish() error {
	r.bar.Finish()
	var lost error
	if r.rejects != nil {
		lost = errors.Join(r.rejects.Sync(), r.rejects.Close())
	}
	if r.json {
		return errors.Join(lost, output.JSON(r.out, r.sums, ""))
	}
	_, err := fmt.Fprintln(r.out, r.sums)
	return errors.Join(lost, err)
}

// show returns a row by the names of its columns.
func (t *sourceTable) show(row sourceRow) map[string]any {
	shown := map[string]any{}
	for field, value := range map[string]any{
		"id": row.id, "to": row.to, "content": row.content, "status": row.status, "externalId": row.externalID,
		"attempts": row.attempts, "lastError": row.lastError,
		"createdAt": row.createdAt, "updatedAt": row.updatedAt, "sentAt": row.sentAt,
	} {
		if c := t.columns[field]; c.name != "" {
			shown[c.name] = value
		}
	}
	return shown
}
