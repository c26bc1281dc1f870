package output

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress shows how far a run is: as a bar on a terminal, else as a line a
// second.
type Progress struct {
	Out  io.Writer
	Name string // which run
	what string // what is done at the moment
	bar  *progressbar.ProgressBar
	last time.Time
}

// Set takes one call at a time.
func (w *Progress) Set(what string, done, of int) {
	if !IsTerminal(w.Out) {
		if time.Since(w.last) > time.Second {
			w.last = time.Now()
			fmt.Fprintf(w.Out, "%s%d of %d %s\n", w.Name, done, of, what)
		}
		return
	}
	if w.bar == nil || w.what != w.Name+what {
		w.End()
		w.what = w.Name + what
		w.bar = progressbar.NewOptions(of,
			progressbar.OptionSetWriter(w.Out), progressbar.OptionSetDescription(w.what), progressbar.OptionFullWidth(),
			progressbar.OptionClearOnFinish(), progressbar.OptionShowCount(), progressbar.OptionUseANSICodes(Coloured(w.Out)))
	}
	_ = w.bar.Set(done) // a bar that can't be drawn is no reason to stop
}

// Say prints a line that is to stay.
func (w *Progress) Say(line string) {
	w.End()
	fmt.Fprintln(w.Out, line)
}

func (w *Progress) End() {
	if w.bar != nil {
		_ = w.bar.Finish() // as above
		w.bar = nil
	}
}
