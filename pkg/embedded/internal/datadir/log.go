package datadir

import (
	"io"
	"os"
	"strings"
	"sync"
)

const (
	// logLimit is the size at which the log is put aside at the next start.
	logLimit = 4 << 20
	// mostWords is how much of what a server said goes into an error.
	mostWords = 2048
)

// Output is an io.Writer, under a name of its own so that Config explains itself.
type Output = io.Writer

// Log is what a server says: a file of ours that it writes by itself, or the caller's writer.
type Log struct {
	file *os.File // nil when the caller takes it
	from int64    // where the present attempt begins in file
	tail *tail    // nil when there is a file
}

func openLog(path string, output io.Writer) (*Log, error) {
	if output != nil {
		return &Log{tail: &tail{to: output}}, nil
	}
	if info, err := os.Stat(path); err == nil && info.Size() > logLimit {
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

// Output is for process.Config.
func (l *Log) Output() io.Writer {
	if l.file != nil {
		return l.file
	}
	return l.tail
}

// Mark lets Words begin here.
func (l *Log) Mark() {
	if l.file == nil {
		l.tail.reset()
		return
	}
	l.from, _ = l.file.Seek(0, io.SeekEnd)
}

// Words returns the end of what the server has said since Mark.
func (l *Log) Words() string {
	if l.file == nil {
		return l.tail.text()
	}
	info, err := l.file.Stat()
	if err != nil {
		return ""
	}
	from := max(l.from, info.Size()-mostWords)
	buf := make([]byte, max(info.Size()-from, 0))
	n, _ := l.file.ReadAt(buf, from)
	return strings.TrimSpace(string(buf[:n]))
}

// LastWords is Words as the end of an error message.
func (l *Log) LastWords() string {
	if words := l.Words(); words != "" {
		return "; the server said: " + words
	}
	return ""
}

// tail passes everything on and remembers the end of it.
type tail struct {
	to  io.Writer
	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.end = append(t.end, p...)
	t.end = t.end[max(len(t.end)-mostWords, 0):]
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
