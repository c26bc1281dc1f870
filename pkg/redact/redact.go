// Package redact hides secrets in text that people see.
package redact

import (
	"regexp"
	"strings"
)

// credentials matches up to the last @, because an unescaped password may contain a
// slash, a colon or another @.
var credentials = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s"']*@`)

var passwordPair = regexp.MustCompile(`(?i)(password\s*=\s*)('[^']*'|[^\s&"']+)`)

// Text hides the user names and passwords in URLs, and the values of password=…
// pairs.
func Text(text string) string {
	text = credentials.ReplaceAllString(text, "${1}***@")
	return passwordPair.ReplaceAllString(text, "${1}***")
}

// OneLine redacts text, joins its lines and cuts it to limit bytes. A cut ends with
// "…".
func OneLine(text string, limit int) string {
	text = strings.Join(strings.Fields(Text(text)), " ")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}
