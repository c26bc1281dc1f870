package datadir

import (
	"io"
	"os"
	"strings"
	"sync"
)

const (
	// maxLogSize is the size above which the next start rotates the log.
	maxLogSize = 4 << 20
	// maxTail is how many bytes of the server's last output an error shows.
	maxTail = 2048
)

// Output is an io.Writer. The name makes Config easier to read.
type Output = io.Writer

// Log holds the output of a server: a file that the server writes itself, or the
// caller's writer. It is safe for concurrent use after Mark.
type Log struct {
	file *os.File // nil if the caller has set a writer
	from int64    // offset in file where the present start begins
	tail *tail    // nil if there is a file
}

func openLog(path string, output io.Writer) (*Log, error) {
	if output != nil {
		return &Log{tail: &tail{to: output}}, nil
	}
	if info, err := os.Stat(path); err == nil && info.Size() > maxLogSize {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	return &Log{file: file}, err
}

func (l *Log) close() {
	if l.file != nil {
		_ = l.file.Close()
	}
}

// Output returns the writer for process.Config.
func (l *Log) Output() io.Writer {
	if l.file != nil {
		return l.file
	}
	return l.tail
}

// Mark makes OutputTail begin at the present end of the output.
func (l *Log) Mark() {
	if l.file == nil {
		l.tail.reset()
		return
	}
	l.from, _ = l.file.Seek(0, io.SeekEnd)
}

// OutputTail returns the last 2 KiB of the output since Mark.
func (l *Log) OutputTail() string {
	if l.file == nil {
		return l.tail.text()
	}
	info, err := l.file.Stat()
	if err != nil {
		return ""
	}
	from := max(l.from, info.Size()-maxTail)
	buf := make([]byte, max(info.Size()-from, 0))
	n, _ := l.file.ReadAt(buf, from)
	return strings.TrimSpace(string(buf[:n]))
}

// OutputSuffix returns OutputTail as the end of an error message.
func (l *Log) OutputSuffix() string {
	if output := l.OutputTail(); output != "" {
		return "; server output: " + output
	}
	return ""
}

// tail passes output on and remembers the last bytes.
type tail struct {
	to  io.Writer
	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.end = append(t.end, p...)
	t.end = t.end[max(len(t.end)-maxTail, 0):]
	t.mu.Unlock()
	return t.to.Write(p)
}

func (t *tail) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.end))
}
