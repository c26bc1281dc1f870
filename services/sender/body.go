package sender

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
)

// maxResponse is how much of a response is read, packed and unpacked.
const maxResponse = 64 << 10

// readBody returns the beginning of a response's body. The request says that it
// must not be packed; some receivers pack it all the same. A body that is
// longer, or breaks off, costs its connection; what came of it counts all the
// same.
func readBody(response *http.Response) []byte {
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	switch strings.ToLower(strings.TrimSpace(response.Header.Get("Content-Encoding"))) {
	case "gzip", "x-gzip":
	default:
		return body
	}
	packed, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body // it only says so
	}
	unpacked, _ := io.ReadAll(io.LimitReader(packed, maxResponse))
	return unpacked
}
