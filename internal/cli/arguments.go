package cli

import (
	"fmt"
	"strings"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/input"
)

// pathFlags take the name of a file, which may be any bytes.
var pathFlags = []string{"--data", "--file", "--html", "--profile", "--rejects"}

// checkArguments refuses text that is not UTF-8: a terminal or a script in
// another encoding would have its letters replaced on the way.
func checkArguments(args []string) error {
	isPath := false
	for i, arg := range args {
		skip := isPath
		isPath = false
		for _, name := range pathFlags {
			isPath = isPath || arg == name
			skip = skip || strings.HasPrefix(arg, name+"=")
		}
		if at := input.InvalidUTF8(arg); at >= 0 && !skip {
			return exit.Usage(fmt.Errorf("argument %d is not UTF-8: byte %d is 0x%02X; set the terminal or the script to UTF-8", i+1, at+1, arg[at]))
		}
	}
	return nil
}
