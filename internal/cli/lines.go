package cli

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
	bare   bool     // the recipient may be a number that lacks its +
}

// lines returns the next line of a file, io.EOF after the last. Any other
// error ends the file.
type lines func() (line, error)

// notText is a line that is not in the encoding of its file.
func notText(number int, f badText) line {
	if f.decoded != "" {
		return unreadable(number, "is not %s: %s", f.decoded, f)
	}
	return unreadable(number, "is not UTF-8: %s; %s", f, encodingAdvice)
}

// unreadable is a line that is not sent.
func unreadable(number int, format string, args ...any) line {
	return line{number: number, wrong: &problem{Code: "unreadable", Detail: fmt.Sprintf(format, args...)}}
}

// fileOptions say how a file of messages is read.
type fileOptions struct {
	name, format, keyPrefix string
	encoding, separator     string
	numbers                 numbers
}

// openLines reads a file in a format: the given one, else what its name or
// its first character says. The key prefix gives lines without an idempotency
// key one.
func openLines(in io.Reader, o fileOptions) (lines, error) {
	text, err := openText(in, o.encoding)
	if err != nil {
		return nil, err
	}
	format := guessFormat(text.Reader, o.name, o.format)
	var next lines
	switch {
	case format == formatNDJSON && o.separator != "":
		err = errors.New("--separator goes with CSV")
	case format == formatNDJSON:
		next = ndjsonLines(text, &o.numbers)
	case format == formatCSV:
		next, err = csvLines(text, o.separator, &o.numbers)
	case format == "[":
		err = errors.New("a JSON array is no NDJSON; make one of it with: jq -c '.[]'")
	default:
		err = fmt.Errorf("--format %q: there are %s and %s", o.format, formatNDJSON, formatCSV)
	}
	if err != nil {
		return nil, usage(err)
	}
	return withKeys(next, o.keyPrefix), nil
}

func guessFormat(text *bufio.Reader, name, format string) string {
	begin, _ := text.Peek(beginning) // a short file is all there is
	begin = bytes.TrimLeft(begin, " \t\r\n")
	extension := strings.ToLower(filepath.Ext(name))
	switch {
	case format != "":
		return strings.ToLower(format)
	case extension == ".csv":
		return formatCSV
	case bytes.HasPrefix(begin, []byte("[")):
		return "["
	case extension == ".ndjson", extension == ".jsonl", bytes.HasPrefix(begin, []byte("{")), len(begin) == 0:
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

func ndjsonLines(in *decoder, numbers *numbers) lines {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(make([]byte, 0, 64<<10), longestLine)
	number := 0
	return func() (line, error) {
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
				return unreadable(number, "is not JSON: %s", jsonMistake(err)), nil
			}
			body, err := numbers.readJSON(bytes.Clone(text))
			if err != nil {
				return unreadable(number, "%s", err), nil
			}
			return line{number: number, body: body}, nil
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
