package sender

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
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
type verdict int

const (
	succeeded verdict = iota // any 2xx
	retryable                // may go better later
	refused                  // will never go better
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
}

const (
	maxExternalID = 255
	maxErrorText  = 200
)

// classify judges a response and the part of its body that was read.
func classify(response *http.Response, body []byte, started, ended time.Time) answer {
	status := response.StatusCode
	a := answer{
		started: started, took: ended.Sub(started), status: status,
		response: clean(body, message.ResponseKept),
	}
	switch {
	case status >= 200 && status <= 299:
		a.verdict, a.externalID = succeeded, messageID(body)
		return a
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500:
		a.verdict, a.retryAfter = retryable, retryAfter(response.Header.Get("Retry-After"), ended)
		a.text = fmt.Sprintf("status %d", status)
	case status >= 300 && status <= 399:
		a.verdict, a.text = refused, fmt.Sprintf("status %d: redirects are not followed", status)
	default:
		a.verdict, a.text = refused, fmt.Sprintf("status %d", status)
	}
	return a
}

// retryAfter reads the header, seconds or a date, as the wait from now on. It
// is 0 for what can't be read or is over.
func retryAfter(value string, now time.Time) time.Duration {
	const longest = 365 * 24 * time.Hour
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(longest/time.Second) {
			return longest
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), longest)
}

// messageID finds the top-level messageId of a JSON object, a string or a
// number as it is written. The body may break off behind it.
func messageID(body []byte) string {
	var whole struct {
		MessageID jsontext.Value `json:"messageId"`
	}
	if jsonv2.Unmarshal(body, &whole) == nil {
		return idText(json.RawMessage(whole.MessageID))
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return ""
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return ""
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return ""
		}
		if name == "messageId" {
			return idText(value)
		}
	}
	return ""
}

// idText is a string or a number as it is written; 12345678901234567890 is no
// float.
func idText(value json.RawMessage) string {
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
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &invalid), errors.As(err, &unknown):
		return "TLS: " + plain(err)
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
