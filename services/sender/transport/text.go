package transport

import (
	"strings"
	"unicode/utf8"

	"github.com/message-dispatcher/dispatch/pkg/redact"
)

// CleanText returns the first limit bytes of text, cut between two characters,
// as valid UTF-8 without NUL: Postgres can store that.
func CleanText(text []byte, limit int) string {
	valid := strings.ToValidUTF8(string(text[:wholeLength(text, limit+utf8.UTFMax)]), "\uFFFD")
	valid = strings.ReplaceAll(valid, "\x00", "")
	return valid[:wholeLength([]byte(valid), limit)]
}

// ErrorText returns the text of an error for people, without secrets.
func ErrorText(err error) string {
	return CleanText([]byte(redact.Text(err.Error())), MaxErrorText)
}

// wholeLength returns the length of the longest prefix of text that has at
// most limit bytes and does not end within a character.
func wholeLength(text []byte, limit int) int {
	if len(text) <= limit {
		return len(text)
	}
	for end := limit; end >= max(0, limit-utf8.UTFMax); end-- {
		if utf8.RuneStart(text[end]) {
			return end
		}
	}
	return limit
}
