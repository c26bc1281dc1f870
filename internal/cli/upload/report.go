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

// Line is what became of a line of a file.
type Line struct {
	Line     int             `json:"line"`
	ID       *message.ID     `json:"id,omitempty"`
	Repeated bool            `json:"repeated,omitempty"` // stored before, under the same key
	Error    *client.Problem `json:"error,omitempty"`
}

// Sums is what became of a file.
type Sums struct {
	Accepted int `json:"accepted"` // the repeated ones among them
	Repeated int `json:"repeated"`
	Rejected int `json:"rejected"`
}

// String is one line for people.
func (s Sums) String() string {
	text := fmt.Sprintf("%d accepted", s.Accepted)
	if s.Repeated > 0 {
		text += fmt.Sprintf(" (%d of them stored before)", s.Repeated)
	}
	return text + fmt.Sprintf(", %d rejected", s.Rejected)
}

// fileReport tells what becomes of a file: rejected lines and the progress on
// standard error, the sums, and as JSON every line, on standard output.
type fileReport struct {
	out, errOut io.Writer
	json        bool
	bar         *output.Bar
	sums        Sums
	bare        int // lines that were refused for a number without a +
}

// shownRejects is how many rejected lines are told one by one, for people.
const shownRejects = 200

func newFileReport(cmd *cobra.Command, asJSON bool, size int64) *fileReport {
	r := &fileReport{out: cmd.OutOrStdout(), errOut: cmd.ErrOrStderr(), json: asJSON}
	r.bar = output.NewBar(r.errOut, size)
	return r
}

// Line tells of one Line. The lines come in order.
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
		_, err := fmt.Fprintln(r.errOut, "more lines are rejected; --json tells all of them")
		return err
	}
	r.bar.Clear()
	name := output.Styled(fmt.Sprintf("line %d", l.Line), output.StyleBad)
	_, err := fmt.Fprintf(r.errOut, "%s: %s\n", name.Paint(output.Coloured(r.errOut)), l.Error)
	return err
}

// progress tells how much of the file has been read.
func (r *fileReport) progress(read int64) {
	if r.bar == nil {
		fmt.Fprintln(r.errOut, r.sums)
		return
	}
	r.bar.Set(r.sums.String(), read)
}

// finish tells the sums.
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
