package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The formats of a file of messages.
const (
	formatNDJSON = "ndjson"
	formatCSV    = "csv"
)

// longestLine is what the API takes at most.
const longestLine = 16 << 20

// line is one message of a file.
type line struct {
	number int
	body   []byte   // JSON; nil when the line can't be read
	wrong  *problem // why it can't
}

// lines returns the next line of a file, io.EOF after the last. Any other
// error ends the file.
type lines func() (line, error)

// unreadable is a line that is not sent.
func unreadable(number int, format string, args ...any) line {
	return line{number: number, wrong: &problem{Code: "unreadable", Detail: fmt.Sprintf(format, args...)}}
}

// openLines reads a file in a format: the given one, else what its name or
// its first character says. keyPrefix gives lines without an idempotency key
// one.
func openLines(in io.Reader, name, format, keyPrefix string) (lines, error) {
	text := bufio.NewReaderSize(in, 64<<10)
	if mark, _ := text.Peek(3); string(mark) == "\ufeff" {
		_, _ = text.Discard(3) // what was peeked at is there
	}
	var next lines
	var err error
	switch guessFormat(text, name, format) {
	case formatNDJSON:
		next = ndjsonLines(text)
	case formatCSV:
		next, err = csvLines(text)
	case "[":
		err = errors.New("a JSON array is no NDJSON; make one of it with: jq -c '.[]'")
	default:
		err = fmt.Errorf("--format %q: there are %s and %s", format, formatNDJSON, formatCSV)
	}
	if err != nil {
		return nil, usage(err)
	}
	return withKeys(next, keyPrefix), nil
}

func guessFormat(text *bufio.Reader, name, format string) string {
	beginning, _ := text.Peek(4096) // a short file is all there is
	beginning = bytes.TrimLeft(beginning, " \t\r\n")
	extension := strings.ToLower(filepath.Ext(name))
	switch {
	case format != "":
		return strings.ToLower(format)
	case extension == ".csv":
		return formatCSV
	case bytes.HasPrefix(beginning, []byte("[")):
		return "["
	case extension == ".ndjson", extension == ".jsonl", bytes.HasPrefix(beginning, []byte("{")), len(beginning) == 0:
		return formatNDJSON
	}
	return formatCSV
}

// withKeys gives each line a key that is the same whenever the file is sent.
func withKeys(next lines, prefix string) lines {
	if prefix == "" {
		return next
	}
	return func() (line, error) {
		l, err := next()
		if err != nil || l.wrong != nil {
			return l, err
		}
		var members map[string]json.RawMessage
		_ = json.Unmarshal(l.body, &members) // not an object: the API says so
		if members == nil {
			return l, nil
		}
		if own := members["idempotencyKey"]; own != nil && string(own) != "null" {
			return l, nil
		}
		var key object
		key.text("idempotencyKey", fmt.Sprintf("%s%d", prefix, l.number))
		rest := bytes.TrimLeft(bytes.TrimLeft(l.body, " \t\r\n")[1:], " \t\r\n")
		body := bytes.TrimSuffix(key.bytes(), []byte("}"))
		if rest[0] != '}' {
			body = append(body, ',')
		}
		l.body = slices.Concat(body, rest)
		return l, nil
	}
}

func ndjsonLines(in *bufio.Reader) lines {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(make([]byte, 0, 64<<10), longestLine)
	number := 0
	return func() (line, error) {
		for scanner.Scan() {
			number++
			text := bytes.TrimSpace(scanner.Bytes())
			if len(text) == 0 {
				continue
			}
			if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
				return unreadable(number, "is not JSON: %s", jsonMistake(err)), nil
			}
			return line{number: number, body: bytes.Clone(text)}, nil
		}
		if errors.Is(scanner.Err(), bufio.ErrTooLong) {
			return line{}, fmt.Errorf("line %d is longer than %d bytes", number+1, longestLine)
		}
		if err := scanner.Err(); err != nil {
			return line{}, fmt.Errorf("read line %d: %w", number+1, err)
		}
		return line{}, io.EOF
	}
}

// jsonMistake words what is wrong with JSON as the API does.
func jsonMistake(err error) string {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err.Error()
	}
	return fmt.Sprintf("%s, at byte %d", syntax, syntax.Offset)
}

// columns are those that a CSV file may have, besides metadata.NAME.
var columns = []string{
	"to", "phoneNumber", "content", "payload", "destination", "type",
	"priority", "deliverAt", "expiresAt", "idempotencyKey",
}

const metadataColumn = "metadata."

// columnNames lists them for people.
var columnNames = strings.Join(columns, ", ") + " and " + metadataColumn + "NAME"

// csvLines reads the line of titles and returns the others as messages. An
// empty cell is a field that is not given.
func csvLines(in io.Reader) (lines, error) {
	limit := &recordLimit{in: in, left: longestLine}
	reader := csv.NewReader(limit)
	reader.FieldsPerRecord = -1 // a line of another length is that line's mistake
	titles, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("read the titles of the columns: %w", err)
	}
	for i, title := range titles {
		titles[i] = strings.TrimSpace(title)
		known := slices.Contains(columns, titles[i]) || strings.HasPrefix(titles[i], metadataColumn) && titles[i] != metadataColumn
		if !known {
			return nil, fmt.Errorf("column %q: there are %s, separated by commas", titles[i], columnNames)
		}
		if slices.Contains(titles[:i], titles[i]) {
			return nil, fmt.Errorf("column %q is there twice", titles[i])
		}
	}
	last := 1
	return func() (line, error) {
		limit.left = longestLine
		cells, err := reader.Read()
		var broken *csv.ParseError
		switch {
		case errors.Is(err, errLongRecord):
			return line{}, fmt.Errorf("read CSV after line %d: %w", last, err)
		case errors.As(err, &broken):
			last = broken.Line
			return unreadable(broken.StartLine, "is not CSV: %s", csvMistake(broken)), nil
		case err == io.EOF:
			return line{}, io.EOF
		case err != nil:
			return line{}, fmt.Errorf("read CSV: %w", err)
		}
		number, _ := reader.FieldPos(0)
		last = number
		if len(cells) != len(titles) {
			return unreadable(number, "has %d columns, the first line %d", len(cells), len(titles)), nil
		}
		return csvMessage(number, titles, cells), nil
	}, nil
}

// csvMistake says what is wrong, and what was lost by it: a quote that is not
// closed takes the lines up to the next one with it.
func csvMistake(broken *csv.ParseError) string {
	text := fmt.Sprintf("%v, at column %d", broken.Err, broken.Column)
	if broken.Line > broken.StartLine {
		text = fmt.Sprintf("%v, at line %d, column %d; lines %d to %d are one quoted field, and none of them is sent",
			broken.Err, broken.Line, broken.Column, broken.StartLine, broken.Line)
	}
	return text
}

// errLongRecord is a line that would fill the memory.
var errLongRecord = fmt.Errorf("a line is longer than %d bytes; perhaps a quote is not closed", longestLine)

// recordLimit ends a file in which a single record does not end.
type recordLimit struct {
	in   io.Reader
	left int // until left is set anew
}

func (r *recordLimit) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, errLongRecord
	}
	n, err := r.in.Read(p)
	r.left -= n
	return n, err
}

var wholeNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})$`)

func csvMessage(number int, titles, cells []string) line {
	var body, metadata object
	for i, title := range titles {
		value := cells[i]
		name, isMetadata := strings.CutPrefix(title, metadataColumn)
		switch {
		case value == "":
		case isMetadata:
			metadata.text(name, value)
		case title == "payload" && !json.Valid([]byte(value)):
			return unreadable(number, "payload is not JSON")
		case title == "payload", title == "priority" && wholeNumber.MatchString(value):
			body.raw(title, []byte(value))
		default:
			body.text(title, value) // a wrong priority too: the API says what is allowed
		}
	}
	if metadata.body.Len() > 0 {
		body.raw("metadata", metadata.bytes())
	}
	return line{number: number, body: body.bytes()}
}
