package output

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Bar is a progress bar on a terminal. A nil Bar does nothing: what is written
// there is no terminal. A bar that can't be drawn is no reason to stop, so no
// method returns an error.
type Bar struct{ bar *progressbar.ProgressBar }

// NewBar returns a bar that is full at total, which is -1 if nobody knows, or
// nil if out is no terminal.
func NewBar(out io.Writer, total int64) *Bar {
	if !IsTerminal(out) {
		return nil
	}
	return &Bar{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(out),
		progressbar.OptionFullWidth(),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionUseANSICodes(Coloured(out)),
	)}
}

// Set draws the bar with a text in front of it.
func (b *Bar) Set(text string, done int64) {
	if b == nil {
		return
	}
	b.bar.Describe(text)
	_ = b.bar.Set64(done)
}

// Clear removes the bar until it is drawn again, so that a line can be printed.
func (b *Bar) Clear() {
	if b != nil {
		_ = b.bar.Clear()
	}
}

// Finish removes the bar.
func (b *Bar) Finish() {
	if b != nil {
		_ = b.bar.Finish()
	}
}

// Progress shows how far the steps of a long command are: as a bar on a terminal,
// else as a line a second. It takes one call at a time.
type Progress struct {
	Out  io.Writer
	Name string // what every step begins with
	step string
	bar  *Bar
	last time.Time
}

// Set shows how far a step is. A new step has a bar of its own.
func (p *Progress) Set(step string, done, of int) {
	if !IsTerminal(p.Out) {
		if time.Since(p.last) > time.Second {
			p.last = time.Now()
			fmt.Fprintf(p.Out, "%s%d of %d %s\n", p.Name, done, of, step)
		}
		return
	}
	if p.bar == nil || p.step != p.Name+step {
		p.End()
		p.step, p.bar = p.Name+step, NewBar(p.Out, int64(of))
	}
	p.bar.Set(fmt.Sprintf("%s %d/%d", p.step, done, of), int64(done))
}

// Say prints a line that stays.
func (p *Progress) Say(line string) {
	p.End()
	fmt.Fprintln(p.Out, line)
}

// End removes the bar.
func (p *Progress) End() {
	p.bar.Finish()
	p.bar = nil
}
