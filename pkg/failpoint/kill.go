//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// deaths is what this process has passed since its next death was planned.
var deaths = struct {
	sync.Mutex
	line   string
	passed int
}{}

// At kills this process, like kill -9, if its next death is planned here. It
// says so on stderr. It is safe for concurrent use.
func At(p Point) {
	deaths.Lock()
	defer deaths.Unlock()
	file := os.Getenv("CRASH_PLAN")
	line, rest := os.Getenv("CRASH_AT"), ""
	if file != "" {
		line, rest = readPlan(file)
	}
	if line != deaths.line {
		deaths.line, deaths.passed = line, 0
	}
	death, err := parseDeath(line)
	if err != nil || death.at != p {
		return
	}
	if deaths.passed++; deaths.passed < death.passing {
		return
	}
	if death.linger > 0 {
		deaths.Unlock()
		<-time.After(death.linger)
		deaths.Lock()
	}
	if file != "" {
		writePlan(file, rest)
	}
	fmt.Fprintf(os.Stderr, "crash: died at %s\n", p)
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // nothing happens on this goroutine after its death
}
