package embeddedtest

import (
	"bytes"
	"sync"
)

// maxOutput is how many bytes at the end of the output are kept, at least.
const maxOutput = 1 << 20

// Output keeps the last MiB of a process's output. The zero value is ready to use.
// It is safe for concurrent use.
type Output struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if len(o.text) > 2*maxOutput {
		o.text = bytes.Clone(o.text[len(o.text)-maxOutput:])
	}
	return len(p), nil
}

// String returns the output that is kept.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// Tail returns the last lines of the output, at most the given number.
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
