package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"
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
		if at := invalidUTF8(arg); at >= 0 && !skip {
			return usage(fmt.Errorf("argument %d is not UTF-8: byte %d is 0x%02X; set the terminal or the script to UTF-8", i+1, at+1, arg[at]))
		}
	}
	return nil
}

// invalidUTF8 is where a text stops being UTF-8; -1 if it is.
func invalidUTF8(text string) int {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRuneInString(text[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}
