package destination

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/redact"
	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// maxExternalID is the longest external id that is stored, in bytes.
const maxExternalID = 255

// Judgement is what a response, or its absence, means for a message.
type Judgement struct {
	Class      message.ResponseClass
	Text       string        // what went wrong; free of secrets
	RetryAfter time.Duration // from the end of the attempt; 0 if the receiver has not asked for it
	ExternalID string        // the receiver's id of the message
}

// Classify judges the response to an attempt that ended at a time.
func (d *Destination) Classify(r transport.Response, ended time.Time) Judgement {
	j := Judgement{Class: d.rules.Classify(r.Status)}
	switch j.Class {
	case message.Delivered:
		j.ExternalID = d.findExternalID(r.Header, r.Body)
		return j
	case message.Retryable, message.Conflict:
		j.RetryAfter = message.RetryAfter(r.Header.Get("Retry-After"), ended)
	case message.Refused:
	}
	j.Text = fmt.Sprintf("status %d", r.Status)
	if r.Status >= 300 && r.Status <= 399 {
		j.Text += ": redirects are not followed" + d.describeRedirect(r.Header.Get("Location"))
	}
	return j
}

// describeRedirect says where a response would send the request. The path of a
// webhook and any query may be credentials, and are left out.
func (d *Destination) describeRedirect(location string) string {
	if location == "" {
		return ""
	}
	u, err := url.Parse(location)
	if err != nil {
		return "; its Location can't be read"
	}
	own := strings.Trim(d.url.EscapedPath(), "/")
	path := u.EscapedPath()
	if own != "" {
		path = strings.ReplaceAll(path, own, "…")
	}
	text := (&url.URL{Scheme: u.Scheme, Host: u.Host}).String() + path
	if u.RawQuery != "" {
		text += "?…"
	}
	return "; its Location is " + transport.CleanText([]byte(redact.Text(text)), transport.MaxErrorText)
}

// findExternalID returns the id that the receiver has given to the message.
func (d *Destination) findExternalID(header http.Header, body []byte) string {
	if d.defaultID {
		// Most receivers respond with a small object, which this reads in a quarter
		// of the time.
		var whole struct {
			MessageID jsontext.Value `json:"messageId"`
		}
		if jsonv2.Unmarshal(body, &whole) == nil {
			return idText(whole.MessageID)
		}
	}
	return transport.CleanText([]byte(d.externalID.Find(header, body)), maxExternalID)
}

// idText returns a string or a number unchanged; 12345678901234567890 is no
// float.
func idText(value jsontext.Value) string {
	if len(value) == 0 {
		return ""
	}
	switch first := value[0]; {
	case first == '"':
		text, _ := jsontext.AppendUnquote(nil, value) // half a surrogate pair becomes U+FFFD
		return transport.CleanText(text, maxExternalID)
	case first == '-', first >= '0' && first <= '9':
		return transport.CleanText(value, maxExternalID)
	}
	return ""
}
