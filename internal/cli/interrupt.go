package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// endWait is how long a command may take to end after a signal, before the
// process ends without it.
const endWait = 10 * time.Second

// drains marks a command that has work in flight and bounds its own end.
const drains = "drains"

// draining marks cmd with drains.
func draining(cmd *cobra.Command) *cobra.Command {
	cmd.Annotations = map[string]string{drains: "true"}
	return cmd
}

// errStuck is the end of a command that a signal did not end: it waits for a
// reader of its output, for example.
var errStuck = errors.New("interrupted; it did not end by itself")

// run executes a command. It returns soon after ctx ends, whatever the command
// waits for.
func run(ctx context.Context, root *cobra.Command, args []string) error {
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

// interruptible is a reader whose reads end with ctx. A terminal or a pipe that
// nobody writes to would otherwise hold up the end of the process.
func interruptible(ctx context.Context, in io.Reader) io.Reader {
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
