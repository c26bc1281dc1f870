package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// endWait is the time that a command has to end after a signal. Then the process
// ends without it.
const endWait = 10 * time.Second

// drains marks a command that drains its work after a signal, under a limit of its own.
const drains = "drains"

// Draining marks a command that drains its work after a signal. Run waits for it.
func Draining(cmd *cobra.Command) *cobra.Command {
	cmd.Annotations = map[string]string{drains: "true"}
	return cmd
}

// errStuck means that a command did not end after a signal. It waits for the
// reader of its output, for example.
var errStuck = errors.New("interrupted; the command did not end by itself")

// Run executes a command line. It returns soon after ctx ends, whatever the
// command waits for.
func Run(ctx context.Context, root *cobra.Command, args []string) error {
	if err := checkArguments(args); err != nil {
		return err
	}
	if cmd, _, err := root.Find(args); err == nil && cmd.Annotations[drains] != "" {
		return root.ExecuteContext(ctx)
	}
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(endWait):
		return errStuck
	}
}

// Interruptible returns a reader whose reads end with ctx. A read from a terminal
// or an idle pipe would otherwise keep the process from ending.
func Interruptible(ctx context.Context, in io.Reader) io.Reader {
	reader, writer := io.Pipe()
	return &interruptibleReader{PipeReader: reader, start: sync.OnceFunc(func() {
		context.AfterFunc(ctx, func() { _ = writer.CloseWithError(fmt.Errorf("interrupted: %w", ctx.Err())) })
		go func() {
			_, err := io.Copy(writer, in)
			_ = writer.CloseWithError(err) // nil is the end of the file
		}()
	})}
}

type interruptibleReader struct {
	*io.PipeReader
	start func()
}

func (r *interruptibleReader) Read(p []byte) (int, error) {
	r.start()
	return r.PipeReader.Read(p)
}
