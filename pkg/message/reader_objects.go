package message

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxStrays is how many unknown and repeated fields are named one by one;
	// an answer must not grow with a request of a million fields.
	maxStrays = 20
	// maxShown is how much of a name or value from a request a mistake
	// repeats, in bytes.
	maxShown = 64
)

// collect finds the fields' values. A null counts as absent, except as a
// payload beside which no content is mentioned.
func (in *reader) collect(body []byte) {
	var seen [fieldCount]bool
	strays := 0
	walk := elementsOf(bytes.TrimLeft(body, " \t\r\n"))
	for key := walk.next(); key != nil; key = walk.next() {
		value := walk.next()
		f, known := fieldOf(key)
		if known && !seen[f] {
			seen[f] = true
			in.values[f] = value
			continue
		}
		strays++
		switch {
		case strays > maxStrays:
		case known:
			in.wrong(fieldNames[f], CodeDuplicateField, "must not be given more than once")
		default:
			name := unquote(key)
			in.wrong(printable(name), CodeUnknownField, "is not a field of a message"+suggestion(name))
		}
	}
	if more := strays - maxStrays; more > 0 {
		in.wrong("", CodeUnknownField, fmt.Sprintf("and %d more fields that are unknown or repeated", more))
	}
	for f, value := range in.values {
		if value != nil && isNull(value) && (field(f) != fieldPayload || seen[fieldContent]) {
			in.values[f] = nil
		}
	}
}

func fieldOf(key []byte) (f field, known bool) {
	name := key[1 : len(key)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		name = []byte(unquote(key))
	}
	for f, known := range fieldNames {
		if string(name) == known {
			return field(f), true
		}
	}
	return 0, false
}

func (in *reader) metadata() {
	value := in.values[fieldMetadata]
	if value == nil {
		return
	}
	if value[0] != '{' {
		in.wrongType(fieldMetadata, "an object")
		return
	}
	pairs := 0
	var metadata map[string]string
	walk := elementsOf(value)
	for key := walk.next(); key != nil; key = walk.next() {
		value := walk.next()
		if pairs++; pairs > MaxMetadataPairs {
			continue // only counted
		}
		name := unquote(key)
		text := in.metadataPair(name, value)
		if _, repeated := metadata[name]; repeated {
			in.wrong("metadata."+printable(name), CodeDuplicateField, "must not be given more than once")
		}
		if metadata == nil {
			metadata = make(map[string]string)
		}
		metadata[name] = text
	}
	if pairs > MaxMetadataPairs {
		in.wrong("metadata", CodeTooMany, fmt.Sprintf("must have at most %d entries, has %d", MaxMetadataPairs, pairs))
	}
	in.request.Metadata = metadata
}

func (in *reader) metadataPair(name string, value []byte) (text string) {
	path := "metadata." + printable(name)
	switch {
	case name == "":
		in.wrong(path, CodeBlank, "must have a key that is not empty")
	case len(name) > MaxMetadataKeyBytes:
		in.wrong(path, CodeTooLong, fmt.Sprintf("must have a key of at most %d bytes, has one of %d", MaxMetadataKeyBytes, len(name)))
	case hasControl(name):
		in.wrong(path, CodeInvalidCharacter, "must have a key without control characters")
	}
	if value[0] != '"' {
		in.wrong(path, CodeWrongType, "must be a string, is "+kindOf(value))
		return ""
	}
	text = unquote(value)
	if len(text) > MaxMetadataValueBytes {
		in.tooLong(path, MaxMetadataValueBytes, len(text))
	}
	in.noNUL(path, text)
	return text
}

// printable makes a name from a request fit for an answer, a log line and a
// header: short, and without line breaks.
func printable(name string) string {
	if len(name) > maxShown {
		end := maxShown
		for !utf8.RuneStart(name[end]) {
			end--
		}
		name = name[:end] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, name)
}

func shown(name string) string { return `"` + printable(name) + `"` }

// suggestion says which field was perhaps meant.
func suggestion(name string) string {
	if len(name) > maxShown {
		return ""
	}
	plain := strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(name))
	best, least := "", 3
	for _, known := range fieldNames {
		if d := distance(plain, strings.ToLower(known)); d < least && d < len(known) {
			best, least = known, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance is how many letters must be added, taken away or changed to make
// one word of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
