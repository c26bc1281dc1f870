// Package redact hides secrets in text that is shown to people.
package redact

import (
	"regexp"
	"strings"
)

// credentials matches up to the last @, since a password that was pasted
// without escaping may hold a slash, a colon or an @ of its own.
var credentials = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s"']*@`)

var passwordPair = regexp.MustCompile(`(?i)(password\s*=\s*)('[^']*'|[^\s&"']+)`)

// Text hides user names and passwords of URLs, and the values of
// password=… pairs, in text that is going to be shown.
func Text(text string) string {
	text = credentials.ReplaceAllString(text, "${1}***@")
	return passwordPair.ReplaceAllString(text, "${1}***")
}

// OneLine makes text fit for one line of a report: redacted, without line
// breaks, at most limit bytes.
func OneLine(text string, limit int) string {
	text = strings.Join(strings.Fields(Text(text)), " ")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}
