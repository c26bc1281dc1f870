package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/process"
)

// usage is what this process and its children have used.
type usage struct {
	cpu    map[string]float64 // seconds, by program
	memory map[string]uint64  // bytes resident now, by program; what processes share counts once
}

// family is this process and everything below it.
type family []member

type member struct {
	program string
	process *process.Process
}

// What this process is called: alone it is all that is no server of its own,
// beside services that run apart it is the load, the receiver and NATS.
const (
	selfAlone = "dispatch"
	selfApart = "load, receiver, NATS"
)

// findFamily looks through all processes once, which costs some milliseconds.
func (r *run) findFamily() family {
	all, err := process.Processes()
	if err != nil {
		return nil
	}
	children := map[int32][]*process.Process{}
	for _, p := range all {
		if parent, err := p.Ppid(); err == nil {
			children[parent] = append(children[parent], p)
		}
	}
	self := member{selfAlone, &process.Process{Pid: int32(os.Getpid())}}
	switch {
	case r.options.Apart && r.bench.given.nats:
		self.program = "load, receiver"
	case r.options.Apart:
		self.program = selfApart
	}
	found := family{self}
	for next := []*process.Process{self.process}; len(next) > 0; next = next[1:] {
		for _, child := range children[next[0].Pid] {
			name, err := child.Name()
			if err != nil || name == "sh" { // it has just ended; or it watches over a server, and sleeps
				continue
			}
			if own, ok := r.names.Load(child.Pid); ok {
				name = own.(string)
			}
			found = append(found, member{name, child})
			next = append(next, child)
		}
	}
	return found
}

// usage adds up what the family has used.
func (f family) usage() usage {
	u := usage{cpu: map[string]float64{}, memory: map[string]uint64{}}
	shared := map[string]uint64{}
	for _, m := range f {
		u.cpu[m.program] += processorTime(m.process)
		all, common := memory(m.process)
		u.memory[m.program] += all - common
		shared[m.program] = max(shared[m.program], common)
	}
	for program, common := range shared {
		u.memory[program] += common
	}
	return u
}

// clockTick is the unit of processor times in /proc, on every Linux: USER_HZ,
// see proc(5).
const clockTick = 100

// processorTime is what a process has used, in seconds, and those below it that
// have ended: PostgreSQL's connections come and go. Where the system does not
// tell of the latter, what they have used is missing once they end.
func processorTime(p *process.Process) float64 {
	if seconds, err := withEnded(p.Pid); err == nil {
		return seconds
	}
	times, err := p.Times()
	if err != nil {
		return 0 // it has ended
	}
	return times.User + times.System
}

// withEnded reads utime, stime, cutime and cstime, the 14th to 17th field of
// /proc/PID/stat (see proc(5)).
func withEnded(pid int32) (seconds float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is a name in brackets, which may hold anything.
	rest := string(text[bytes.LastIndexByte(text, ')')+1:])
	fields := strings.Fields(rest)
	const third, first, last = 3, 14, 17
	if len(fields) <= last-third {
		return 0, fmt.Errorf("no processor times in %q", rest)
	}
	for _, field := range fields[first-third : last-third+1] {
		ticks, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, err
		}
		seconds += float64(ticks) / clockTick
	}
	return seconds, nil
}

// memory is what a process has resident, and how much of that it may share:
// program text, and PostgreSQL's buffers. Where the system does not tell, none
// is shared.
func memory(p *process.Process) (all, shared uint64) {
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Pid)); err == nil {
		var size, resident, common uint64
		if n, _ := fmt.Sscan(string(text), &size, &resident, &common); n == 3 {
			page := uint64(os.Getpagesize())
			return resident * page, common * page
		}
	}
	if info, err := p.MemoryInfo(); err == nil {
		return info.RSS, 0
	}
	return 0, 0
}
