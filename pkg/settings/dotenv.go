package settings

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// dotEnvError is an error in one line of a dotenv file. It contains no text of the
// line, which may hold a secret.
type dotEnvError struct {
	line    int
	problem string
}

func (m dotEnvError) Error() string { return fmt.Sprintf("line %d %s", m.line, m.problem) }

// parseDotEnv reads NAME=value lines. It accepts only values that every reader of
// such files understands in the same way:
//
//	NAME=value      the text after the = to the end of the line, without blanks
//	                around it; $, \, quotes and # have no special meaning
//	NAME='value'    the text between the quotes, also line breaks
//	NAME="value"    the same, with the escapes \n \r \t \" \\ and \$
//
// A line may begin with export. A comment begins with # on its own line or after a
// quoted value. These are errors: a # at the beginning of an unquoted value or after
// a blank in it, because readers disagree whether it begins a comment; references
// such as ${NAME}, because nothing is expanded; a name that is set twice.
func parseDotEnv(text string) (map[string]string, error) {
	p := dotEnv{rest: strings.ReplaceAll(text, "\r\n", "\n"), line: 1, setAt: map[string]int{}}
	if err := p.checkEncoding(text); err != nil {
		return nil, err
	}
	values := map[string]string{}
	for {
		name, value, err := p.next()
		switch {
		case err != nil:
			return nil, err
		case name == "":
			return values, nil
		}
		values[name] = value
	}
}

// dotEnv is the unread rest of a file.
type dotEnv struct {
	rest  string
	line  int // number of the line where rest begins
	setAt map[string]int
}

func (p *dotEnv) errorf(format string, args ...any) error {
	return dotEnvError{p.line, fmt.Sprintf(format, args...)}
}

func (p *dotEnv) checkEncoding(text string) error {
	if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
		return errors.New("is UTF-16: save it as UTF-8")
	}
	for i, line := range strings.Split(p.rest, "\n") {
		at := strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
		switch {
		case !utf8.ValidString(line):
			return dotEnvError{i + 1, "is not UTF-8"}
		case at >= 0:
			return dotEnvError{i + 1, fmt.Sprintf("holds the control character %U at byte %d", line[at], at+1)}
		}
	}
	return nil
}

const blanks = " \t"

// next returns the next name and its value. The name is empty at the end of the
// file.
func (p *dotEnv) next() (name, value string, err error) {
	for {
		line, rest, more := strings.Cut(p.rest, "\n")
		text := strings.Trim(line, blanks)
		if text != "" && text[0] != '#' {
			break
		}
		if !more {
			return "", "", nil
		}
		p.rest, p.line = rest, p.line+1
	}
	line, _, _ := strings.Cut(p.rest, "\n")
	name, _, found := strings.Cut(line, "=")
	length := len(name) + len("=")
	name = strings.Trim(name, blanks)
	if after, exported := strings.CutPrefix(name, "export"); exported && strings.Trim(after, blanks) != after {
		name = strings.Trim(after, blanks)
	}
	if !found || !isName(name) {
		return "", "", p.errorf("is not of the form NAME=value")
	}
	if at, again := p.setAt[name]; again {
		return "", "", p.errorf("sets %s again; line %d does", name, at)
	}
	p.setAt[name] = p.line
	p.rest = strings.TrimLeft(p.rest[length:], blanks)
	switch {
	case strings.HasPrefix(p.rest, "'"), strings.HasPrefix(p.rest, `"`):
		value, err = p.quoted(p.rest[0])
	default:
		value, err = p.plain()
	}
	return name, value, err
}

func isName(name string) bool {
	for i, r := range name {
		letter := r == '_' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
		if !letter && (i == 0 || r != '.' && (r < '0' || r > '9')) {
			return false
		}
	}
	return name != ""
}

// plain reads an unquoted value.
func (p *dotEnv) plain() (string, error) {
	line, rest, _ := strings.Cut(p.rest, "\n")
	value := strings.Trim(line, blanks)
	switch {
	case strings.HasPrefix(value, "#"), strings.Contains(value, " #"), strings.Contains(value, "\t#"):
		return "", p.errorf("has a # that may begin a comment or belong to the value: put the value in single quotes, or the comment on a line of its own")
	case strings.Contains(value, "${"):
		return "", p.errorf("%s", noExpansion)
	}
	p.rest, p.line = rest, p.line+1
	return value, nil
}

const noExpansion = "refers to a variable by ${…}, and nothing is expanded here: write its value, or put single quotes around the text if it is meant as it stands"

// quoted reads a quoted value and the rest of its line, where only a comment may
// follow.
func (p *dotEnv) quoted(quote byte) (string, error) {
	var value strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == quote:
			if err := p.skipAfterQuote(p.rest[:i], p.rest[i+1:]); err != nil {
				return "", err
			}
			return value.String(), nil
		case quote == '"' && c == '$' && strings.HasPrefix(p.rest[i:], "${"):
			return "", p.errorf("%s", noExpansion)
		case quote == '"' && c == '\\' && i+1 < len(p.rest):
			i++
			meant, known := escapes[p.rest[i]]
			if !known {
				return "", p.errorf(`has a \ in double quotes that is none of \n \r \t \" \\ \$: write \\ for a backslash, or use single quotes`)
			}
			value.WriteByte(meant)
		default:
			value.WriteByte(c)
		}
	}
	return "", p.errorf("begins a value with a quote that is not closed")
}

var escapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', '"': '"', '\\': '\\', '$': '$'}

// skipAfterQuote moves to the line after a quoted value.
func (p *dotEnv) skipAfterQuote(value, behind string) error {
	p.line += strings.Count(value, "\n")
	line, rest, _ := strings.Cut(behind, "\n")
	comment := strings.TrimLeft(line, blanks)
	if comment != "" && (comment[0] != '#' || comment == line) {
		return p.errorf("goes on after the quote that closes the value")
	}
	p.rest, p.line = rest, p.line+1
	return nil
}
