package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects of a request may be nested, the
// request itself included. It bounds every walk over a payload, here and in
// the parsers of those who receive it.
const MaxDepth = 128

// checkObject returns a *Malformed unless body is exactly one JSON object in
// valid UTF-8, nested no deeper than MaxDepth, whose \u escapes stand for
// characters. What passes can be walked without a further check of its
// syntax. encoding/json alone lets too much through: it turns broken UTF-8
// and half surrogate pairs into U+FFFD, and a message would go out that
// nobody wrote.
func checkObject(body []byte) error {
	start := bytes.TrimLeft(body, " \t\r\n")
	switch {
	case len(start) == 0:
		return &MalformedError{Reason: "is empty; it must be a JSON object"}
	case bytes.HasPrefix(start, []byte("\ufeff")):
		return &MalformedError{Reason: "begins with a byte order mark; it must begin with the JSON object"}
	case !utf8.Valid(body):
		return &MalformedError{Reason: fmt.Sprintf("is not valid UTF-8 at byte %d", invalidUTF8(body))}
	}
	if err := checkDepthAndEscapes(body); err != nil {
		return err
	}
	if !json.Valid(body) {
		return notJSON(body)
	}
	if start[0] != '{' {
		return &MalformedError{Reason: "must be a JSON object, is " + kindOf(start)}
	}
	return nil
}

func invalidUTF8(body []byte) int {
	at := 0
	for at < len(body) {
		r, size := utf8.DecodeRune(body[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at
}

func notJSON(body []byte) error {
	var discard json.RawMessage
	err := json.Unmarshal(body, &discard)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return &MalformedError{Reason: fmt.Sprintf("is not JSON: %v, at byte %d", err, syntax.Offset)}
	}
	return &MalformedError{Reason: fmt.Sprintf("is not JSON: %v", err)}
}

// checkDepthAndEscapes looks at what json.Valid does not. It stands any
// input, JSON or not.
func checkDepthAndEscapes(body []byte) error {
	depth := 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			if depth++; depth > MaxDepth {
				return &MalformedError{Reason: fmt.Sprintf("is nested deeper than %d levels", MaxDepth)}
			}
		case '}', ']':
			depth--
		case '"':
			end := i + stringEnd(body[i:])
			if at := loneSurrogate(body[i:end]); at >= 0 {
				return &MalformedError{Reason: fmt.Sprintf("holds an escaped half of a surrogate pair at byte %d", i+at)}
			}
			i = end - 1
		}
	}
	return nil
}

// loneSurrogate returns where in a quoted string the first escape is that
// stands for half a character, or -1.
func loneSurrogate(quoted []byte) int {
	for i := 0; i < len(quoted); i++ {
		next := bytes.IndexByte(quoted[i:], '\\')
		if next < 0 {
			return -1
		}
		i += next
		unit, ok := escapedUnit(quoted[i:])
		switch {
		case !ok:
			i++ // what is escaped may be a backslash
		case unit >= 0xdc00 && unit <= 0xdfff:
			return i
		case unit >= 0xd800 && unit < 0xdc00:
			if low, ok := escapedUnit(quoted[i+6:]); !ok || low < 0xdc00 || low > 0xdfff {
				return i
			}
			i += 11
		default:
			i += 5
		}
	}
	return -1
}

// escapedUnit reads a \uXXXX at the beginning of text.
func escapedUnit(text []byte) (unit rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	for _, c := range text[2:6] {
		unit <<= 4
		switch {
		case c >= '0' && c <= '9':
			unit |= rune(c - '0')
		case c >= 'a' && c <= 'f':
			unit |= rune(c - 'a' + 10)
		case c >= 'A' && c <= 'F':
			unit |= rune(c - 'A' + 10)
		default:
			return 0, false
		}
	}
	return unit, true
}

// elements walks over what an array or an object holds, without a copy. Its
// input must be valid JSON.
type elements struct {
	rest []byte // after the opening bracket, a comma or a colon
}

func elementsOf(composite []byte) elements {
	return elements{composite[1:]}
}

// next returns the next value, nil at the end. An object's keys and values
// come in turn.
func (e *elements) next() []byte {
	e.rest = bytes.TrimLeft(e.rest, " \t\r\n,:")
	if e.rest[0] == '}' || e.rest[0] == ']' {
		return nil
	}
	end := valueEnd(e.rest)
	value := e.rest[:end:end]
	e.rest = e.rest[end:]
	return value
}

// valueEnd returns where the value at the beginning of data ends.
func valueEnd(data []byte) int {
	switch data[0] {
	case '"':
		return stringEnd(data)
	case '{', '[':
		depth := 0
		for i := 0; i < len(data); i++ {
			switch data[i] {
			case '"':
				i += stringEnd(data[i:]) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return len(data)
	}
	if end := bytes.IndexAny(data, ",]} \t\r\n"); end >= 0 {
		return end
	}
	return len(data)
}

// stringEnd returns where the string at the beginning of data ends, its
// quotes included; the end of data for one that does not.
func stringEnd(data []byte) int {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// unquote decodes a string. The result shares nothing with the input.
func unquote(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var text string
	_ = json.Unmarshal(quoted, &text) // can't fail: the string's syntax was checked
	return text
}

func isNull(value []byte) bool { return value[0] == 'n' }

// kindOf names the kind of a JSON value, with its article.
func kindOf(value []byte) string {
	switch value[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
