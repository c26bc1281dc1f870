package framing

import (
	"bytes"
	"strings"
)

// Number of digits of a length that always fits an int64.
const (
	maxDecimalDigits = 18
	maxHexDigits     = 15
)

// head holds the parts of a request head that decide about its framing and its host.
type head struct {
	old       bool // HTTP/1.0
	absolute  bool // the target contains a host, stored in authority
	authority string
	hosts     int
	host      string // the Host header, set only if absolute
	sized     bool
	length    int64
	chunked   bool
}

// request checks a request line (RFC 9112 §3).
func (h *head) request(line []byte) *Error {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, _ := bytes.Cut(rest, []byte(" "))
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		h.old = true
	default:
		return &Error{"its first line is not METHOD TARGET HTTP/1.1"}
	}
	if !isToken(method) || len(target) == 0 {
		return &Error{"its first line is not METHOD TARGET HTTP/1.1"}
	}
	if bytes.HasPrefix(target, []byte("//")) {
		return &Error{"its path begins with two slashes"} // some servers read it as a host
	}
	if target[0] == '/' || !bytes.Contains(target, []byte("://")) {
		return nil
	}
	scheme, address, _ := strings.Cut(string(target), "://")
	if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return &Error{"its target is of another scheme than http"}
	}
	h.absolute = true
	if end := strings.IndexAny(address, "/?#"); end >= 0 {
		address = address[:end]
	}
	h.authority = address
	return nil
}

// field checks a header line (RFC 9112 §5).
func (h *head) field(line []byte) *Error {
	name, value, err := split(line)
	if err != nil {
		return err
	}
	switch len(name) {
	case len("Host"):
		if is(name, "Host") {
			return h.readHost(value)
		}
	case len("Content-Length"):
		if is(name, "Content-Length") {
			return h.readLength(value)
		}
	case len("Transfer-Encoding"):
		if is(name, "Transfer-Encoding") {
			return h.readCoding(value)
		}
	}
	return nil
}

// split returns the name and the value of a header line.
func split(line []byte) (name, value []byte, err *Error) {
	if line[0] == ' ' || line[0] == '\t' {
		return nil, nil, &Error{"a header of it is folded: a line begins with white space"}
	}
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found || !isToken(name) {
		return nil, nil, &Error{"a header of it has no proper name, followed at once by a colon"}
	}
	return name, bytes.Trim(value, " \t"), nil
}

func is(name []byte, known string) bool { return bytes.EqualFold(name, []byte(known)) }

func (h *head) readHost(value []byte) *Error {
	if h.hosts++; h.hosts > 1 {
		return &Error{"it has more than one Host"}
	}
	for _, c := range value {
		if !hostBytes[c] {
			return &Error{"its Host is not a host, or host:port"}
		}
	}
	if h.absolute {
		h.host = string(value)
	}
	return nil
}

// readLength reads a Content-Length. A second one is rejected even if it is equal,
// because request smuggling begins with several lengths.
func (h *head) readLength(value []byte) *Error {
	if h.sized {
		return &Error{"it has more than one Content-Length"}
	}
	h.sized = true
	if len(value) == 0 || len(value) > maxDecimalDigits {
		return &Error{"its Content-Length is not a number of bytes"}
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return &Error{"its Content-Length is not a number of bytes"}
		}
		h.length = h.length*10 + int64(c-'0')
	}
	return nil
}

func (h *head) readCoding(value []byte) *Error {
	switch {
	case h.chunked:
		return &Error{"it has more than one Transfer-Encoding"}
	case h.old:
		return &Error{"it has a Transfer-Encoding, which HTTP/1.0 does not know"}
	case !is(value, "chunked"):
		return &Error{"its Transfer-Encoding is another one than chunked"}
	}
	h.chunked = true
	return nil
}

// judge checks the head as a whole.
func (h *head) judge() *Error {
	switch {
	case h.chunked && h.sized:
		return &Error{"it has both a Content-Length and a Transfer-Encoding"}
	case h.hosts == 0 && !h.old:
		return &Error{"it has no Host"}
	case h.absolute && h.hosts > 0 && !strings.EqualFold(h.authority, h.host):
		return &Error{"its target names another host than its Host"}
	}
	return nil
}

// trailer checks a line after a chunked body. Headers that decide about framing are
// not allowed there.
func trailer(line []byte) *Error {
	name, _, err := split(line)
	if err != nil {
		return err
	}
	for _, known := range []string{"Host", "Content-Length", "Transfer-Encoding"} {
		if is(name, known) {
			return &Error{"it has a " + known + " behind its body"}
		}
	}
	return nil
}

// hex reads the hexadecimal number at the beginning of text. If it has more than
// maxHexDigits, value is meaningless.
func hex(text []byte) (value int64, digits int) {
	for ; digits < len(text); digits++ {
		switch c := text[digits]; {
		case c >= '0' && c <= '9':
			value = value<<4 | int64(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			value = value<<4 | int64(c|0x20-'a'+10)
		default:
			return value, digits
		}
	}
	return value, digits
}

func isToken(text []byte) bool {
	for _, c := range text {
		if !tokenBytes[c] {
			return false
		}
	}
	return len(text) > 0
}

const alphanumerics = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

var (
	tokenBytes = setOf(alphanumerics + "!#$%&'*+-.^_`|~") // RFC 9110 §5.6.2
	hostBytes  = setOf(alphanumerics + "-._~%!$&'()*+,;=:[]")
)

func setOf(text string) (set [256]bool) {
	for i := range len(text) {
		set[text[i]] = true
	}
	return set
}
