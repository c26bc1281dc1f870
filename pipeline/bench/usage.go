package bench

import (
	"os"

	"github.com/shirou/gopsutil/v4/process"
)

// usage is what this process and its children have used.
type usage struct {
	cpu    map[string]float64 // seconds, by program
	memory map[string]uint64  // bytes resident now, by program
}

// measureUsage looks at this process and everything below it. Programs that
// ended since are not in it, so what counts is the difference over a time in
// which none does.
func measureUsage() usage {
	u := usage{cpu: map[string]float64{}, memory: map[string]uint64{}}
	self, err := process.NewProcess(int32(os.Getpid()))
	if err != nil {
		return u
	}
	u.add("dispatch", self)
	u.addChildren(self)
	return u
}

func (u usage) addChildren(of *process.Process) {
	children, err := of.Children()
	if err != nil {
		return // it has none
	}
	for _, child := range children {
		name, err := child.Name()
		if err != nil {
			continue // it has just ended
		}
		u.add(name, child)
		u.addChildren(child)
	}
}

func (u usage) add(name string, p *process.Process) {
	if times, err := p.Times(); err == nil {
		u.cpu[name] += times.User + times.System
	}
	if memory, err := p.MemoryInfo(); err == nil {
		u.memory[name] += memory.RSS
	}
}

func (u usage) total() float64 {
	sum := 0.0
	for _, seconds := range u.cpu {
		sum += seconds
	}
	return sum
}
