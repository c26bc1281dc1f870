package sender

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// verdict is what an answer means for the message.
type verdict = message.ResponseClass

const (
	succeeded = message.Delivered
	retryable = message.Retryable
	refused   = message.Refused
)

// answer is what came of an attempt.
type answer struct {
	verdict    verdict
	started    time.Time // by Postgres' clock
	took       time.Duration
	status     int           // 0 without an answer
	text       string        // what went wrong; free of secrets
	retryAfter time.Duration // from the end of the attempt; 0 for none
	externalID string
	response   string // its beginning
	unsent     error  // this machine could open no connection: nobody was asked
	unreached  bool   // nothing of the request reached the webhook
}

const (
	maxExternalID = 255
	maxErrorText  = 200
)

// classify judges a response and the part of its body that was read.
func (w *webhook) classify(response *http.Response, body []byte, started, ended time.Time) answer {
	status := response.StatusCode
	a := answer{
		verdict: w.rules.Classify(status), started: started, took: ended.Sub(started), status: status,
		response: clean(body, message.ResponseKept),
	}
	switch a.verdict {
	case message.Delivered:
		a.externalID = w.findExternalID(response.Header, body)
		return a
	case message.Retryable, message.Conflict:
		a.retryAfter = message.RetryAfter(response.Header.Get("Retry-After"), ended)
	case message.Refused:
	}
	a.text = fmt.Sprintf("status %d", status)
	if status >= 300 && status <= 399 {
		a.text += ": redirects are not followed" + w.redirect(response.Header.Get("Location"))
	}
	return a
}

// redirect words where a response would send the request. The path of a
// webhook and any query may be credentials, and are left out.
func (w *webhook) redirect(location string) string {
	if location == "" {
		return ""
	}
	u, err := url.Parse(location)
	if err != nil {
		return "; its Location can't be read"
	}
	own := strings.Trim(w.url.EscapedPath(), "/")
	path := u.EscapedPath()
	if own != "" {
		path = strings.ReplaceAll(path, own, "…")
	}
	text := (&url.URL{Scheme: u.Scheme, Host: u.Host}).String() + path
	if u.RawQuery != "" {
		text += "?…"
	}
	return "; its Location is " + clean([]byte(service.Redact(text)), maxErrorText)
}

// findExternalID finds the id that the receiver has given to the message.
func (w *webhook) findExternalID(header http.Header, body []byte) string {
	if w.usualID {
		// Most receivers answer with a small object, which this reads in a
		// quarter of the time.
		var whole struct {
			MessageID jsontext.Value `json:"messageId"`
		}
		if jsonv2.Unmarshal(body, &whole) == nil {
			return idText(whole.MessageID)
		}
	}
	return clean([]byte(w.externalID.Find(header, body)), maxExternalID)
}

// idText is a string or a number as it is written; 12345678901234567890 is no
// float.
func idText(value jsontext.Value) string {
	if len(value) == 0 {
		return ""
	}
	switch first := value[0]; {
	case first == '"':
		text, _ := jsontext.AppendUnquote(nil, value) // half a surrogate pair becomes U+FFFD
		return clean(text, maxExternalID)
	case first == '-', first >= '0' && first <= '9':
		return clean(value, maxExternalID)
	}
	return ""
}

// clean returns the first limit bytes of text as valid UTF-8 without NUL,
// which Postgres can hold, cut between two characters.
func clean(text []byte, limit int) string {
	valid := strings.ToValidUTF8(string(text[:whole(text, limit+utf8.UTFMax)]), "\uFFFD")
	valid = strings.ReplaceAll(valid, "\x00", "")
	return valid[:whole([]byte(valid), limit)]
}

// whole returns the length of the longest beginning of text that has at most
// limit bytes and does not break off within a character.
func whole(text []byte, limit int) int {
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

// describe words why there was no answer.
func (w *webhook) describe(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	var invalid *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(err, errTimeout):
		return "timeout after " + w.timeout.String()
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return "DNS lookup failed: no such host"
		}
		return "DNS lookup failed"
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "the proxy can't be reached"
	case unreachable(err):
		return "this machine has no address from which to reach the webhook's"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &invalid), errors.As(err, &unknown):
		return "TLS: " + plain(err)
	case wrongCertificate(err):
		return "TLS: the webhook wants another client certificate (WEBHOOK_CERT): " + plain(err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		strings.Contains(err.Error(), "server closed idle connection"):
		return "connection closed without an answer"
	}
	return plain(err)
}

// plain is an error's text for people, without secrets.
func plain(err error) string {
	return clean([]byte(service.Redact(err.Error())), maxErrorText)
}
