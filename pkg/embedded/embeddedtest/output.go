package embeddedtest

import (
	"bytes"
	"sync"
)

// mostOutput is how much of a process's output is kept: the end of it.
const mostOutput = 1 << 20

// Output gathers what a process prints; of much, the end. The zero value is
// ready, and it is safe for concurrent use.
type Output struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if len(o.text) > 2*mostOutput {
		o.text = bytes.Clone(o.text[len(o.text)-mostOutput:])
	}
	return len(p), nil
}

// String returns what is kept.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// Tail returns the last so many lines.
func (o *Output) Tail(lines int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := bytes.TrimRight(o.text, "\n")
	for at := len(text); ; lines-- {
		if lines == 0 {
			return string(text[at+1:])
		}
		if at = bytes.LastIndexByte(text[:at], '\n'); at < 0 {
			return string(text)
		}
	}
}
