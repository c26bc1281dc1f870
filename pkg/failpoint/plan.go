//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// kill is a line of a plan.
type kill struct {
	at      Point
	passing int           // which time that the gap is passed, from 1
	linger  time.Duration // how long the process continues after that
}

// parseKill reads a line: name[:passing][+linger].
func parseKill(line string) (kill, error) {
	k := kill{passing: 1}
	rest, linger, found := strings.Cut(line, "+")
	if found {
		var err error
		if k.linger, err = time.ParseDuration(linger); err != nil {
			return kill{}, fmt.Errorf("read linger of %q: %w", line, err)
		}
	}
	name, passing, found := strings.Cut(rest, ":")
	if found {
		var err error
		if k.passing, err = strconv.Atoi(passing); err != nil {
			return kill{}, fmt.Errorf("read passing of %q: %w", line, err)
		}
	}
	k.at = Point(name)
	return k, nil
}

// readPlan returns the next line of the plan and the lines after it. Both are
// empty if there is none.
func readPlan(file string) (line, rest string) {
	plan, err := os.ReadFile(file)
	if err != nil {
		return "", ""
	}
	line, rest, _ = strings.Cut(string(plan), "\n")
	return strings.TrimSpace(line), rest
}

// writePlan stores the remaining lines. It panics if it cannot, because the
// process would be killed at the same gap for ever.
func writePlan(file, rest string) {
	if err := os.WriteFile(file, []byte(rest), 0o600); err != nil {
		panic(err)
	}
}
