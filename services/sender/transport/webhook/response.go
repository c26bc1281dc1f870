package webhook

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/services/sender/transport"
)

// idleTimeout is how long a connection without a request stays open. Many
// receivers close theirs after 5 s (Node.js, Apache).
const idleTimeout = 4 * time.Second

// readBody returns the beginning of a response's body. The request asks for an
// unpacked one; some receivers pack it nevertheless. A body that is too long or
// breaks off costs its connection, but the part that arrived counts.
func readBody(response *http.Response) []byte {
	body, _ := io.ReadAll(io.LimitReader(response.Body, transport.MaxBody))
	switch strings.ToLower(strings.TrimSpace(response.Header.Get("Content-Encoding"))) {
	case "gzip", "x-gzip":
	default:
		return body
	}
	packed, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body // the header is wrong
	}
	unpacked, _ := io.ReadAll(io.LimitReader(packed, transport.MaxBody))
	return unpacked
}

// announcesForbiddenBody reports whether a response announces a body although
// its status does not allow one. A receiver that does so often sends it, too.
func announcesForbiddenBody(response *http.Response) bool {
	status := response.StatusCode
	if status > 199 && status != http.StatusNoContent && status != http.StatusNotModified {
		return false
	}
	length := response.Header.Get("Content-Length")
	return length != "" && length != "0" || len(response.TransferEncoding) > 0
}

// idleTimeoutOf is how long a connection may be idle after a response:
// idleTimeout, or three quarters of what the receiver announces if that is
// less. A request that is written while the receiver closes the connection gets
// no response, and its outcome is unknown.
func idleTimeoutOf(header http.Header) time.Duration {
	for parameter := range strings.SplitSeq(header.Get("Keep-Alive"), ",") {
		name, value, _ := strings.Cut(parameter, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "timeout") {
			continue
		}
		if seconds, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31); err == nil {
			return min(idleTimeout, time.Duration(seconds)*time.Second*3/4)
		}
	}
	return idleTimeout
}

// statusLineLength is the length of the version and the status.
const statusLineLength = len("HTTP/1.1 200")

// statusLine returns where the first status line begins, or -1.
func statusLine(text []byte) int {
	for from := 0; ; {
		i := bytes.Index(text[from:], []byte("HTTP/1."))
		if i < 0 || len(text)-from-i < statusLineLength {
			return -1
		}
		from += i
		line := text[from : from+statusLineLength]
		if isDigits(line[7:8]) && line[8] == ' ' && isDigits(line[9:]) {
			return from
		}
		from++
	}
}

func isDigits(text []byte) bool {
	return len(text) > 0 && len(bytes.Trim(text, "0123456789")) == 0
}
