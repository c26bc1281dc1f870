//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// death is a line of a plan.
type death struct {
	at      Point
	passing int           // the how manieth time that the gap is passed, from 1
	linger  time.Duration // how long the process goes on then
}

// parseDeath reads a line: name[:passing][+linger].
func parseDeath(line string) (death, error) {
	d := death{passing: 1}
	rest, linger, found := strings.Cut(line, "+")
	if found {
		var err error
		if d.linger, err = time.ParseDuration(linger); err != nil {
			return death{}, fmt.Errorf("read linger of %q: %w", line, err)
		}
	}
	name, passing, found := strings.Cut(rest, ":")
	if found {
		var err error
		if d.passing, err = strconv.Atoi(passing); err != nil {
			return death{}, fmt.Errorf("read passing of %q: %w", line, err)
		}
	}
	d.at = Point(name)
	return d, nil
}

// readPlan returns the next death and those after it; empty for none.
func readPlan(file string) (line, rest string) {
	plan, err := os.ReadFile(file)
	if err != nil {
		return "", ""
	}
	line, rest, _ = strings.Cut(string(plan), "\n")
	return strings.TrimSpace(line), rest
}

// writePlan leaves what is still to be died. Where that can't be done, the
// process would die for ever: better it tells.
func writePlan(file, rest string) {
	if err := os.WriteFile(file, []byte(rest), 0o600); err != nil {
		panic(err)
	}
}
