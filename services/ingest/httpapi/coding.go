package httpapi

import (
	"compress/gzip"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// typesNDJSON are the media types in use for lines of JSON. None is registered.
var typesNDJSON = []string{typeNDJSON, "application/ndjson", "application/jsonl"}

const (
	supportedEncodings = "gzip, identity"
	gzipBytes          = 48 << 10 // memory that decompression needs
)

// contentType returns the media type of a body. It is empty if the header is
// invalid or its charset is not UTF-8. Other parameters are ignored.
func contentType(c *fiber.Ctx) string {
	media, params, err := mime.ParseMediaType(c.Get(fiber.HeaderContentType))
	if err != nil {
		return ""
	}
	switch strings.ToLower(params["charset"]) {
	case "", "utf-8", "utf8":
		return media
	}
	return ""
}

// isNDJSON reports whether a body is lines of JSON.
func isNDJSON(c *fiber.Ctx) bool { return slices.Contains(typesNDJSON, contentType(c)) }

// contentEncoding reports whether a body is compressed with gzip. supported is
// false for another encoding, or more than one.
func contentEncoding(c *fiber.Ctx) (gzipped, supported bool) {
	var names []string
	for _, value := range c.Request().Header.PeekAll(fiber.HeaderContentEncoding) {
		for name := range strings.SplitSeq(string(value), ",") {
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" && name != "identity" {
				names = append(names, name)
			}
		}
	}
	switch {
	case len(names) == 0:
		return false, true
	case len(names) == 1 && (names[0] == "gzip" || names[0] == "x-gzip"):
		return true, true
	}
	return false, false
}

func checkContentEncoding(c *fiber.Ctx) error {
	if _, supported := contentEncoding(c); supported {
		return nil
	}
	c.Set(fiber.HeaderAcceptEncoding, supportedEncodings)
	return message.NewProblem(http.StatusUnsupportedMediaType, message.ProblemUnsupportedMedia,
		fmt.Sprintf("Content-Encoding must be gzip or left out, is %.40q", c.Get(fiber.HeaderContentEncoding)))
}

// gzipReader decompresses a body. Its errors are those of the connection, or
// errNotGzip.
type gzipReader struct {
	from    io.Reader
	fromErr error // of from
	gzip    *gzip.Reader
}

// Read implements io.Reader.
func (r *gzipReader) Read(p []byte) (int, error) {
	if r.gzip == nil {
		var err error
		if r.gzip, err = gzip.NewReader(gzipSource{r}); err != nil {
			r.gzip = nil
			return 0, r.errorOf(err)
		}
	}
	n, err := r.gzip.Read(p)
	return n, r.errorOf(err)
}

// errorOf distinguishes an error of the connection from invalid gzip.
func (r *gzipReader) errorOf(err error) error {
	switch {
	case err == nil:
		return nil
	case r.fromErr != nil:
		return r.fromErr
	case err == io.EOF: //nolint:errorlint // io.Reader requires io.EOF itself
		return io.EOF
	}
	return errNotGzip
}

// gzipSource is what a gzipReader reads from. It remembers the error.
type gzipSource struct{ *gzipReader }

func (s gzipSource) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if err != nil && err != io.EOF {
		s.fromErr = err
	}
	return n, err
}
