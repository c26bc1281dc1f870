package input

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// columns are the columns that a CSV file may have, besides metadata.NAME.
var columns = []string{
	"to", "phoneNumber", "content", "payload", "destination", "type",
	"priority", "deliverAt", "expiresAt", "idempotencyKey",
}

const metadataColumn = "metadata."

// ColumnNames lists the columns for people.
var ColumnNames = strings.Join(columns, ", ") + " and " + metadataColumn + "NAME"

// separators are those of spreadsheets. They use a semicolon where numbers have a
// decimal comma.
var separators = []rune{',', ';', '\t', '|'}

// csvFile reads the lines below the titles.
type csvFile struct {
	text    *decoder
	limit   *recordLimit
	reader  *csv.Reader
	titles  []string // an empty title is a column without a name
	skipped int      // lines that reader does not see
	last    int      // first line of the last record
	numbers *PhoneNumbers
}

// csvLines reads the titles and returns the other lines as messages. An empty cell
// is a field that is not set. A line of empty cells is skipped.
func csvLines(text *decoder, separator string, numbers *PhoneNumbers) (Lines, error) {
	f := &csvFile{text: text, limit: &recordLimit{in: text, left: longestLine}, last: 1, numbers: numbers}
	comma, err := f.separator(separator)
	if err != nil {
		return nil, err
	}
	f.reader = csv.NewReader(f.limit)
	f.reader.Comma = comma
	f.reader.FieldsPerRecord = -1 // a line of another length is an error of that line alone
	titles, err := f.reader.Read()
	if err != nil {
		return nil, fmt.Errorf("read the titles of the columns: %w", err)
	}
	if fault, wrong := text.check.within(1, f.end(titles)); wrong {
		return nil, fmt.Errorf("the titles of the columns are not UTF-8: %s; %s", fault, encodingAdvice)
	}
	if f.titles, err = readTitles(titles); err != nil {
		return nil, err
	}
	return f.next, nil
}

// separator returns the given separator; or that of a first line such as sep=;
// which Excel reads and some programs write; or the one with which most titles
// are known columns.
func (f *csvFile) separator(given string) (rune, error) {
	begin, _ := f.text.Peek(beginning)
	first, _, _ := bytes.Cut(begin, []byte("\n"))
	chosen, err := parseSeparator(given)
	if err != nil {
		return 0, err
	}
	if match := separatorLine.FindSubmatch(first); match != nil {
		named, _ := utf8.DecodeRune(match[1])
		if chosen != 0 && chosen != named {
			return 0, fmt.Errorf("--separator: the file says on its first line that it is %q", named)
		}
		_, _ = f.text.Discard(len(first)) // Peek has read it
		_, _ = f.text.ReadByte()          // the line break, if any
		f.skipped = 1
		return named, nil
	}
	if chosen != 0 {
		return chosen, nil
	}
	best, most := ',', -1
	for _, candidate := range separators {
		if n := knownTitles(first, candidate); n > most {
			best, most = candidate, n
		}
	}
	return best, nil
}

var separatorLine = regexp.MustCompile("(?i)^\"?sep=([^\r\n\"])\"?\r?$")

func parseSeparator(text string) (rune, error) {
	switch strings.ToLower(text) {
	case "":
		return 0, nil
	case "tab", `\t`:
		return '\t', nil
	}
	separator, size := utf8.DecodeRuneInString(text)
	if size != len(text) || strings.ContainsRune("\"\r\n\ufffd", separator) {
		return 0, fmt.Errorf("--separator %q: one character, or tab", text)
	}
	return separator, nil
}

// knownTitles counts the known columns in a line with a separator.
func knownTitles(first []byte, separator rune) int {
	reader := csv.NewReader(bytes.NewReader(first))
	reader.Comma = separator
	titles, _ := reader.Read() // an error means no titles
	known := 0
	for _, title := range titles {
		if columnOf(title) != "" {
			known++
		}
	}
	return known
}

// columnOf returns the column of a title, or "". Case does not matter: spreadsheets
// capitalize first letters.
func columnOf(title string) string {
	title = strings.TrimSpace(title)
	for _, column := range columns {
		if strings.EqualFold(title, column) {
			return column
		}
	}
	if n := len(metadataColumn); len(title) > n && strings.EqualFold(title[:n], metadataColumn) {
		return metadataColumn + title[n:]
	}
	return ""
}

func readTitles(titles []string) ([]string, error) {
	read := make([]string, len(titles))
	for i, title := range titles {
		if strings.TrimSpace(title) == "" {
			continue // allowed as long as its cells are empty
		}
		read[i] = columnOf(title)
		if read[i] == "" {
			return nil, fmt.Errorf("column %q: there are %s, separated by commas, semicolons or tabs (--separator)", title, ColumnNames)
		}
		if slices.Contains(read[:i], read[i]) {
			return nil, fmt.Errorf("column %q is there twice", read[i])
		}
	}
	return read, nil
}

// end returns the last line of the record that was just read.
func (f *csvFile) end(cells []string) int {
	if len(cells) == 0 {
		return f.last
	}
	begins, _ := f.reader.FieldPos(len(cells) - 1)
	return f.skipped + begins + strings.Count(cells[len(cells)-1], "\n")
}

func (f *csvFile) next() (Line, error) {
	for {
		f.limit.left = longestLine
		cells, err := f.reader.Read()
		var broken *csv.ParseError
		switch {
		case errors.Is(err, errLongRecord):
			return Line{}, fmt.Errorf("read CSV after line %d: %w", f.last, err)
		case errors.As(err, &broken):
			broken.StartLine += f.skipped
			broken.Line += f.skipped
			f.last = broken.Line
			f.text.check.within(f.last, f.last)
			return unreadable(broken.StartLine, "is not CSV: %s", syntaxError(broken)), nil
		case err == io.EOF:
			return Line{}, io.EOF
		case err != nil:
			return Line{}, fmt.Errorf("read CSV: %w", err)
		}
		number, _ := f.reader.FieldPos(0)
		number += f.skipped
		f.last = number
		if fault, wrong := f.text.check.within(number, f.end(cells)); wrong {
			return notText(number, fault), nil
		}
		if slices.ContainsFunc(cells, func(cell string) bool { return cell != "" }) {
			return f.message(number, cells), nil
		}
	}
}

// syntaxError explains an error and its consequence: a quote that is not closed
// swallows the lines up to the next quote.
func syntaxError(broken *csv.ParseError) string {
	text := fmt.Sprintf("%v, at column %d", broken.Err, broken.Column)
	if broken.Line > broken.StartLine {
		text = fmt.Sprintf("%v, at line %d, column %d; lines %d to %d are one quoted field, and none of them is sent",
			broken.Err, broken.Line, broken.Column, broken.StartLine, broken.Line)
	}
	return text
}

// errLongRecord stops a record that would fill the memory.
var errLongRecord = fmt.Errorf("a line is longer than %d bytes; perhaps a quote is not closed", longestLine)

// recordLimit limits the length of a single record.
type recordLimit struct {
	in   io.Reader
	left int // bytes, until it is reset
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

// message converts the cells of a line.
func (f *csvFile) message(number int, cells []string) Line {
	for i := len(cells); i < len(f.titles); i++ {
		if f.titles[i] != "" {
			return unreadable(number, "has %d columns, the first line %d", len(cells), len(f.titles))
		}
	}
	var body, metadata Object
	bare := false
	for i, value := range cells {
		title := ""
		if i < len(f.titles) {
			title = f.titles[i]
		}
		name, isMetadata := strings.CutPrefix(title, metadataColumn)
		switch {
		case value == "":
		case i >= len(f.titles):
			return unreadable(number, "has %d columns, the first line %d", len(cells), len(f.titles))
		case title == "":
			return unreadable(number, "has text in column %d, which has no name", i+1)
		case isMetadata:
			metadata.Text(name, value)
		case title == "to", title == "phoneNumber":
			to, err := f.numbers.Read(value)
			if err != nil {
				return unreadable(number, "%s: %q %s", title, value, err)
			}
			bare = WithoutPlus(to)
			body.Text(title, to)
		case title == "idempotencyKey" && scientific.MatchString(value): // rounded, it would be the key of other lines too
			return unreadable(number, "idempotencyKey: %q %s", value, RoundedAdvice)
		case title == "payload" && !json.Valid([]byte(value)):
			return unreadable(number, "payload is not JSON")
		case title == "payload", title == "priority" && wholeNumber.MatchString(value):
			body.Raw(title, []byte(value))
		default:
			body.Text(title, value) // an invalid priority too: the API reports it
		}
	}
	if metadata.body.Len() > 0 {
		body.Raw("metadata", metadata.Bytes())
	}
	return Line{Number: number, Body: body.Bytes(), Bare: bare}
}
