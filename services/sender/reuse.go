package sender

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// breaksOff says whether a response that has no content announces some all the
// same. A receiver that does so often sends it.
func breaksOff(response *http.Response) bool {
	status := response.StatusCode
	if status > 199 && status != http.StatusNoContent && status != http.StatusNotModified {
		return false
	}
	length := response.Header.Get("Content-Length")
	return length != "" && length != "0" || len(response.TransferEncoding) > 0
}

// idleFor is how long a connection may be idle after a response: idleTimeout,
// or three quarters of what the receiver announces, if that is less. A request
// that is written while the receiver closes gets no response, and its outcome
// is unknown.
func idleFor(header http.Header) time.Duration {
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
