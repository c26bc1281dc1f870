//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// passed counts how often this process has passed the gap of its next kill.
var passed = struct {
	sync.Mutex
	line  string
	times int
}{}

// At kills this process, like kill -9, if the plan says so for this gap. It
// prints the gap to stderr first. It is safe for concurrent use.
func At(p Point) {
	passed.Lock()
	defer passed.Unlock()
	file := os.Getenv("FAILPOINT_PLAN")
	line, rest := os.Getenv("FAILPOINT_AT"), ""
	if file != "" {
		line, rest = readPlan(file)
	}
	if line != passed.line {
		passed.line, passed.times = line, 0
	}
	next, err := parseKill(line)
	if err != nil || next.at != p {
		return
	}
	if passed.times++; passed.times < next.passing {
		return
	}
	if next.linger > 0 {
		passed.Unlock()
		<-time.After(next.linger)
		passed.Lock()
	}
	if file != "" {
		writePlan(file, rest)
	}
	fmt.Fprintf(os.Stderr, "failpoint: killed at %s\n", p)
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // the signal may take a moment: nothing else happens here meanwhile
}
