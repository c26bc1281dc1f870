// Package clitest runs command lines of dispatch in the test's own process, on
// an installation that is started for the test.
package clitest

import (
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

const (
	// Patience bounds every wait of a test.
	Patience = 60 * time.Second
	// Pause is the time between two looks at something.
	Pause = 20 * time.Millisecond
	// Unused is a URL where nothing listens: the port of tcpmux.
	Unused = "http://127.0.0.1:1"
)

// Execute runs one command line and returns its exit code, as cli.Execute does.
type Execute func(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int

// Ended is a command line that has been run.
type Ended struct {
	Code        int
	Out, ErrOut string
}

// Run runs a command line with a text on standard input.
func (execute Execute) Run(t *testing.T, in string, args ...string) Ended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	var out, errOut embeddedtest.Output
	code := execute(ctx, args, strings.NewReader(in), &out, &errOut)
	return Ended{code, out.String(), errOut.String()}
}

// OK expects success and returns the standard output.
func (e Ended) OK(t *testing.T) string {
	t.Helper()
	require.Equal(t, 0, e.Code, "%s%s", e.Out, e.ErrOut)
	return e.Out
}

// Fails expects an exit code and texts on standard error.
func (e Ended) Fails(t *testing.T, code int, texts ...string) {
	t.Helper()
	require.Equal(t, code, e.Code, "%s%s", e.Out, e.ErrOut)
	for _, text := range texts {
		require.Contains(t, e.ErrOut, text)
	}
}

// Running is a command line that runs until it is interrupted.
type Running struct {
	Out, ErrOut embeddedtest.Output
	Code        chan int // receives the exit code
	cancel      context.CancelFunc
}

// Start runs a command line in the background. It ends with the test at the latest.
func (execute Execute) Start(t *testing.T, args ...string) *Running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &Running{cancel: cancel, Code: make(chan int, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Code <- execute(ctx, args, strings.NewReader(""), &r.Out, &r.ErrOut)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return r
}

// Interrupt does what Ctrl-C does, and returns the exit code.
func (r *Running) Interrupt() int {
	r.cancel()
	return <-r.Code
}

// Field returns the value next to a name in a table.
func Field(text, name string) string {
	match := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` +(.*)$`).FindStringSubmatch(text)
	if match == nil {
		return ""
	}
	return match[1]
}

// Settings makes an environment of names and values that alternate.
func Settings(given ...string) settings.Environment {
	env := settings.Environment{}
	for n := 0; n < len(given); n += 2 {
		env[given[n]] = given[n+1]
	}
	return env
}
