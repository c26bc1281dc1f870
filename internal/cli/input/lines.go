// Package input reads files of messages: CSV as spreadsheets save it, and NDJSON.
// Each line becomes the JSON body of POST /api/v1/messages.
package input

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
)

// The formats of a file of messages.
const (
	FormatNDJSON = "ndjson"
	FormatCSV    = "csv"
)

// longestLine is the limit of the API, in bytes.
const longestLine = 16 << 20

// Line is one message of a file.
type Line struct {
	Number int
	Body   []byte // JSON; nil when the line can't be read
	Wrong  string // why it can't be read; empty if it can
	Bare   bool   // the recipient may be a number without its +
}

// Lines returns the next line of a file, and io.EOF after the last. Any other error
// ends the file too.
type Lines func() (Line, error)

// notText is a line with text that is not in the encoding of the file.
func notText(number int, f badText) Line {
	if f.decoded != "" {
		return unreadable(number, "is not %s: %s", f.decoded, f)
	}
	return unreadable(number, "is not UTF-8: %s; %s", f, encodingAdvice)
}

// unreadable is a line that is not sent.
func unreadable(number int, format string, args ...any) Line {
	return Line{Number: number, Wrong: fmt.Sprintf(format, args...)}
}

// Options say how a file is read. The zero value of a field means: find out.
type Options struct {
	Name, Format, KeyPrefix string
	Encoding, Separator     string
	Numbers                 PhoneNumbers
}

// Open returns the lines of a file. Its format is the given one, else it follows
// from its name or its first character. With a key prefix, lines without an
// idempotency key get one.
func Open(in io.Reader, o Options) (Lines, error) {
	text, err := openText(in, o.Encoding)
	if err != nil {
		return nil, err
	}
	format := guessFormat(text.Reader, o.Name, o.Format)
	var next Lines
	switch {
	case format == FormatNDJSON && o.Separator != "":
		err = errors.New("--separator goes with CSV")
	case format == FormatNDJSON:
		next = ndjsonLines(text, &o.Numbers)
	case format == FormatCSV:
		next, err = csvLines(text, o.Separator, &o.Numbers)
	case format == "[":
		err = errors.New("a JSON array is not NDJSON; convert it with: jq -c '.[]'")
	default:
		err = fmt.Errorf("--format %q: there are %s and %s", o.Format, FormatNDJSON, FormatCSV)
	}
	if err != nil {
		return nil, exit.Usage(err)
	}
	return withKeys(next, o.KeyPrefix), nil
}

func guessFormat(text *bufio.Reader, name, format string) string {
	begin, _ := text.Peek(beginning) // an error means that the file is short
	begin = bytes.TrimLeft(begin, " \t\r\n")
	extension := strings.ToLower(filepath.Ext(name))
	switch {
	case format != "":
		return strings.ToLower(format)
	case extension == ".csv":
		return FormatCSV
	case bytes.HasPrefix(begin, []byte("[")):
		return "["
	case extension == ".ndjson", extension == ".jsonl", bytes.HasPrefix(begin, []byte("{")), len(begin) == 0:
		return FormatNDJSON
	}
	return FormatCSV
}

// withKeys gives each line a key, which is the same each time the file is sent.
func withKeys(next Lines, prefix string) Lines {
	if prefix == "" {
		return next
	}
	return func() (Line, error) {
		l, err := next()
		if err != nil || l.Wrong != "" {
			return l, err
		}
		var members map[string]json.RawMessage
		_ = json.Unmarshal(l.Body, &members) // the API reports what is not an object
		if members == nil {
			return l, nil
		}
		if own := members["idempotencyKey"]; own != nil && string(own) != "null" {
			return l, nil
		}
		var key Object
		key.Text("idempotencyKey", fmt.Sprintf("%s%d", prefix, l.Number))
		rest := bytes.TrimLeft(bytes.TrimLeft(l.Body, " \t\r\n")[1:], " \t\r\n")
		body := bytes.TrimSuffix(key.Bytes(), []byte("}"))
		if rest[0] != '}' {
			body = append(body, ',')
		}
		l.Body = slices.Concat(body, rest)
		return l, nil
	}
}

func ndjsonLines(in *decoder, numbers *PhoneNumbers) Lines {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(make([]byte, 0, 64<<10), longestLine)
	number := 0
	return func() (Line, error) {
		for scanner.Scan() {
			number++
			text := bytes.TrimSpace(scanner.Bytes())
			if f, wrong := in.check.within(number, number); wrong {
				return notText(number, f), nil
			}
			if len(text) == 0 {
				continue
			}
			if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
				return unreadable(number, "is not JSON: %s", syntaxErrorOfJSON(err)), nil
			}
			body, err := numbers.readJSON(bytes.Clone(text))
			if err != nil {
				return unreadable(number, "%s", err), nil
			}
			return Line{Number: number, Body: body}, nil
		}
		if errors.Is(scanner.Err(), bufio.ErrTooLong) {
			return Line{}, fmt.Errorf("line %d is longer than %d bytes", number+1, longestLine)
		}
		if err := scanner.Err(); err != nil {
			return Line{}, fmt.Errorf("read line %d: %w", number+1, err)
		}
		return Line{}, io.EOF
	}
}

// syntaxErrorOfJSON describes an error in JSON as the API does.
func syntaxErrorOfJSON(err error) string {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err.Error()
	}
	return fmt.Sprintf("%s, at byte %d", syntax, syntax.Offset)
}
