package input

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
)

const encodingAdvice = "--encoding says what it is, such as windows-1252 (Western Europe) or windows-1254 (Turkish); a spreadsheet can also save it as CSV UTF-8"

// beginning is the number of bytes by which encoding, format and separator are guessed.
const beginning = 4096

// decoder reads a file as UTF-8.
type decoder struct {
	*bufio.Reader
	check *textCheck
}

// openText decodes a file. Its encoding is that of its byte order mark, else the
// given one, else UTF-8. Text that is not in this encoding is passed on, and check
// knows its place.
func openText(in io.Reader, given string) (*decoder, error) {
	raw := bufio.NewReaderSize(in, 64<<10)
	begin, _ := raw.Peek(beginning) // an error means that the file is short
	marked, length := byteOrderMark(begin)
	name := given
	if marked != "" {
		if given != "" && !sameEncoding(given, marked) {
			return nil, exit.Usage(fmt.Errorf("--encoding %s: its byte order mark says that the file is %s; leave --encoding out", given, marked))
		}
		name = marked
		_, _ = raw.Discard(length) // Peek has read it
	}
	if name == "" && bytes.IndexByte(begin, 0) >= 0 {
		return nil, exit.Usage(errors.New("the file is no text, or UTF-16 without a byte order mark: --encoding utf-16le reads that"))
	}
	coding, err := findEncoding(name)
	if err != nil {
		return nil, exit.Usage(err)
	}
	check := &textCheck{line: 1}
	check.report = func(f badText) { check.faults = append(check.faults, f) }
	if coding != nil {
		check.decoded = name
		raw = bufio.NewReaderSize(coding.NewDecoder().Reader(raw), 64<<10)
	}
	check.in = &lineEnds{in: raw}
	return &decoder{bufio.NewReaderSize(check, 64<<10), check}, nil
}

func byteOrderMark(begin []byte) (name string, length int) {
	switch {
	case bytes.HasPrefix(begin, []byte("\xef\xbb\xbf")):
		return "utf-8", 3
	case bytes.HasPrefix(begin, []byte("\xff\xfe")):
		return "utf-16le", 2
	case bytes.HasPrefix(begin, []byte("\xfe\xff")):
		return "utf-16be", 2
	}
	return "", 0
}

// findEncoding returns nil for UTF-8.
func findEncoding(name string) (encoding.Encoding, error) {
	found, err := htmlindex.Get(name)
	if err != nil { // the list of the browsers lacks the code pages of DOS
		found, err = ianaindex.IANA.Encoding(name)
	}
	switch {
	case name == "" || sameEncoding(name, "utf-8"):
		return nil, nil
	case err != nil || found == nil || found == encoding.Replacement:
		return nil, fmt.Errorf("--encoding %q: no such encoding is known; there are utf-8, utf-16le, windows-1252, windows-1254, iso-8859-9, macintosh, ibm850, shift_jis and the others of the IANA's list", name)
	}
	return found, nil
}

func sameEncoding(a, b string) bool {
	first, err := htmlindex.Get(a)
	second, otherErr := htmlindex.Get(b)
	return err == nil && otherErr == nil && first == second
}

// badText is a place that is not in the encoding of the file.
type badText struct {
	line, at int // at counts bytes of UTF-8, or decoded characters; both start at 1
	value    byte
	decoded  string // the encoding; empty for UTF-8
}

func (f badText) String() string {
	if f.decoded != "" {
		return fmt.Sprintf("character %d is none in %s", f.at, f.decoded)
	}
	return fmt.Sprintf("byte %d is 0x%02X", f.at, f.value)
}

// textCheck passes text on and remembers the first bad place of each line.
type textCheck struct {
	in       io.Reader
	decoded  string // the encoding that in decodes; U+FFFD is bad then
	line, at int    // place of the next character; at counts what precedes it
	cut      []byte // beginning of a character that continues in the next read
	bad      int    // last line with a bad place
	report   func(badText)
	faults   []badText // what the default report collects
}

// Read implements io.Reader.
func (c *textCheck) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.scan(p[:n], err != nil)
	return n, err
}

func (c *textCheck) scan(text []byte, last bool) {
	if len(c.cut) > 0 {
		text = append(c.cut, text...)
		c.cut = nil
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		invalid := r == utf8.RuneError && size == 1
		if invalid && !last && !utf8.FullRune(text) {
			c.cut = bytes.Clone(text)
			return
		}
		if invalid || r == utf8.RuneError && c.decoded != "" {
			c.found(badText{c.line, c.at + 1, text[0], c.decoded})
		}
		switch {
		case r == '\n':
			c.line, c.at = c.line+1, 0
		case c.decoded != "":
			c.at++
		default:
			c.at += size
		}
		text = text[size:]
	}
}

func (c *textCheck) found(f badText) {
	if f.line > c.bad {
		c.bad = f.line
		c.report(f)
	}
}

// within returns the first bad place in a range of lines, and drops it and all
// before it.
func (c *textCheck) within(first, last int) (found badText, ok bool) {
	for len(c.faults) > 0 && c.faults[0].line <= last {
		if !ok && c.faults[0].line >= first {
			found, ok = c.faults[0], true
		}
		c.faults = c.faults[1:]
	}
	return found, ok
}

// lineEnds converts the carriage returns of old Macs, which Excel still writes, to
// newlines.
type lineEnds struct {
	in      *bufio.Reader
	decided bool
	mac     bool // lines end with a carriage return alone
}

// Read implements io.Reader.
func (l *lineEnds) Read(p []byte) (int, error) {
	if !l.decided {
		begin, _ := l.in.Peek(beginning)
		l.decided = true
		l.mac = bytes.IndexByte(begin, '\r') >= 0 && bytes.IndexByte(begin, '\n') < 0 && bytes.IndexByte(begin, '\r') < len(begin)-1
	}
	n, err := l.in.Read(p)
	if l.mac {
		for i := range p[:n] {
			if p[i] == '\r' {
				p[i] = '\n'
			}
		}
	}
	return n, err
}

// shownFaults limits the bad lines in an error.
const shownFaults = 20

// Check refuses a file with a part that can't be read, before anything is sent.
// Otherwise a repeat with the right encoding would send the rest twice.
func Check(path, given string) error {
	file, err := os.Open(path)
	if err != nil {
		return exit.Usage(fmt.Errorf("--file: %w", err))
	}
	defer file.Close()
	text, err := openText(file, given)
	if err != nil {
		return err
	}
	var shown strings.Builder
	bad := 0
	text.check.report = func(f badText) {
		if bad++; bad <= shownFaults {
			fmt.Fprintf(&shown, "\n  line %d: %s", f.line, f)
		}
	}
	if _, err := io.Copy(io.Discard, text); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	switch {
	case bad == 0:
		return nil
	case bad > shownFaults:
		fmt.Fprintf(&shown, "\n  and %d more lines", bad-shownFaults)
	}
	return exit.Usage(fmt.Errorf("%s is not %s; nothing was sent%s\n%s", path, cmp.Or(text.check.decoded, "UTF-8"), &shown, encodingAdvice))
}
