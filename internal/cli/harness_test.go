package cli

import (
	"regexp"
	"testing"

	"github.com/message-dispatcher/dispatch/internal/cli/clitest"
)

const (
	patience = clitest.Patience
	pause    = clitest.Pause
	unused   = clitest.Unused
)

// dispatch runs a command line with nothing on standard input.
func dispatch(t *testing.T, args ...string) clitest.Ended {
	t.Helper()
	return dispatchWith(t, "", args...)
}

func dispatchWith(t *testing.T, in string, args ...string) clitest.Ended {
	t.Helper()
	return clitest.Execute(Execute).Run(t, in, args...)
}

// background runs a command line until it is interrupted.
func background(t *testing.T, args ...string) *clitest.Running {
	t.Helper()
	return clitest.Execute(Execute).Start(t, args...)
}

// startUp starts a whole installation in this process.
func startUp(t *testing.T, given ...string) *clitest.Installation {
	t.Helper()
	return clitest.Execute(Execute).Up(t, given...)
}

var (
	anID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)
	aTime  = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}`)
	aNUID  = regexp.MustCompile(`\b[0-9A-Za-z]{22}\b`)
	aWhile = regexp.MustCompile(`\b\d+[mµ]?s( +)`)
)

// golden replaces what differs between runs by words of the same length where a
// column depends on it.
func golden(text string) string {
	text = anID.ReplaceAllString(text, "<an id, as long as this word is it>.")
	text = aTime.ReplaceAllString(text, "<date and time, UTC+n>.")
	return aNUID.ReplaceAllString(text, "<instance>")
}
