package bench

import (
	"os"

	"github.com/shirou/gopsutil/v4/process"
)

// usage is what this process and its children have used.
type usage struct {
	cpu    map[string]float64 // seconds, by program
	memory map[string]uint64  // bytes resident now, by program; what processes share counts for each
}

// family is this process and everything below it.
type family []member

type member struct {
	program string
	process *process.Process
}

// findFamily looks through all processes once, which costs some milliseconds.
func findFamily() family {
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
	self := &process.Process{Pid: int32(os.Getpid())}
	found := family{{"dispatch", self}}
	for next := []*process.Process{self}; len(next) > 0; next = next[1:] {
		for _, child := range children[next[0].Pid] {
			name, err := child.Name()
			if err != nil {
				continue // it has just ended
			}
			found = append(found, member{name, child})
			next = append(next, child)
		}
	}
	return found
}

// usage adds up what the family has used. What has ended is not in it, so
// that what counts is the difference over a time in which nothing does.
func (f family) usage() usage {
	u := usage{cpu: map[string]float64{}, memory: map[string]uint64{}}
	for _, m := range f {
		if times, err := m.process.Times(); err == nil {
			u.cpu[m.program] += times.User + times.System
		}
		if memory, err := m.process.MemoryInfo(); err == nil {
			u.memory[m.program] += memory.RSS
		}
	}
	return u
}

func (u usage) total() float64 {
	sum := 0.0
	for _, seconds := range u.cpu {
		sum += seconds
	}
	return sum
}
