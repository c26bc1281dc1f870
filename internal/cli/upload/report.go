package upload

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/input"
	"github.com/message-dispatcher/dispatch/internal/cli/output"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Line is the result of one line of a file.
type Line struct {
	Line     int             `json:"line"`
	ID       *message.ID     `json:"id,omitempty"`
	Repeated bool            `json:"repeated,omitempty"` // stored before, under the same key
	Error    *client.Problem `json:"error,omitempty"`
}

// Sums are the counts of a file.
type Sums struct {
	Accepted int `json:"accepted"` // with the repeated ones
	Repeated int `json:"repeated"`
	Rejected int `json:"rejected"`
}

// String formats the counts for people.
func (s Sums) String() string {
	text := fmt.Sprintf("%d accepted", s.Accepted)
	if s.Repeated > 0 {
		text += fmt.Sprintf(" (%d of them stored before)", s.Repeated)
	}
	return text + fmt.Sprintf(", %d rejected", s.Rejected)
}

// fileReport prints the results of a file. Rejected lines and the progress go to
// standard error. The sums go to standard output, and with JSON every line.
type fileReport struct {
	out, errOut io.Writer
	json        bool
	bar         *output.Bar
	sums        Sums
	bare        int // lines that were rejected for a number without a +
}

// shownRejects limits the rejected lines that are printed for people.
const shownRejects = 200

func newFileReport(cmd *cobra.Command, asJSON bool, size int64) *fileReport {
	r := &fileReport{out: cmd.OutOrStdout(), errOut: cmd.ErrOrStderr(), json: asJSON}
	r.bar = output.NewBar(r.errOut, size)
	return r
}

// line prints the result of one line. The lines come in order.
func (r *fileReport) line(l Line) error {
	switch {
	case l.Error != nil:
		r.sums.Rejected++
	case l.Repeated:
		r.sums.Accepted++
		r.sums.Repeated++
	default:
		r.sums.Accepted++
	}
	if r.json {
		return output.JSON(r.out, l, "")
	}
	switch {
	case l.Error == nil, r.sums.Rejected > shownRejects+1:
		return nil
	case r.sums.Rejected > shownRejects:
		_, err := fmt.Fprintln(r.errOut, "more lines are rejected; --json prints all of them")
		return err
	}
	r.bar.Clear()
	name := output.Styled(fmt.Sprintf("line %d", l.Line), output.StyleBad)
	_, err := fmt.Fprintf(r.errOut, "%s: %s\n", name.Paint(output.Coloured(r.errOut)), l.Error)
	return err
}

// progress shows how many bytes of the file have been read.
func (r *fileReport) progress(read int64) {
	if r.bar == nil {
		fmt.Fprintln(r.errOut, r.sums)
		return
	}
	r.bar.Set(r.sums.String(), read)
}

// finish prints the sums.
func (r *fileReport) finish() error {
	r.bar.Finish()
	if r.json {
		return output.JSON(r.out, r.sums, "")
	}
	if r.bare > 0 {
		fmt.Fprintf(r.errOut, "%d rejected lines have a number without a +: %s\n", r.bare, input.PlusAdvice)
	}
	_, err := fmt.Fprintln(r.out, r.sums)
	return err
}
