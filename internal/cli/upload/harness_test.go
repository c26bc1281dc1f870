package upload_test

import (
	"testing"

	"github.com/message-dispatcher/dispatch/internal/cli"
	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
)

const (
	patience = clitest.Patience
	unused   = clitest.Unused
)

// dispatch runs a command line with nothing on standard input.
func dispatch(t *testing.T, args ...string) clitest.Ended {
	t.Helper()
	return clitest.Execute(cli.Execute).Run(t, "", args...)
}

// startUp starts a whole installation in this process.
func startUp(t *testing.T, settings ...string) *clitest.Installation {
	t.Helper()
	return clitest.Execute(cli.Execute).Up(t, settings...)
}

func dispatchWith(t *testing.T, in string, args ...string) clitest.Ended {
	t.Helper()
	return clitest.Execute(cli.Execute).Run(t, in, args...)
}
