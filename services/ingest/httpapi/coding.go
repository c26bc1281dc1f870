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

// typesNDJSON are the names under which lines of JSON are sent: none of them
// is registered.
var typesNDJSON = []string{typeNDJSON, "application/ndjson", "application/jsonl"}

// codings are the names of what a body may be packed in.
const codings = "gzip, identity"

// gzipRoom is what unpacking a body holds while it lasts.
const gzipRoom = 48 << 10

// contentType is the media type of a body, empty for one that is no type or
// whose text is not UTF-8. Other parameters mean nothing here, whatever they
// are.
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

// packed reports whether a body is packed with gzip. known is false if it is
// packed otherwise, or more than once.
func packed(c *fiber.Ctx) (packed, known bool) {
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

// demandCoding refuses a body that can't be unpacked.
func demandCoding(c *fiber.Ctx) error {
	if _, known := packed(c); known {
		return nil
	}
	c.Set(fiber.HeaderAcceptEncoding, codings)
	return message.NewProblem(http.StatusUnsupportedMediaType, message.ProblemUnsupportedMedia,
		fmt.Sprintf("Content-Encoding must be gzip or left out, is %.40q", c.Get(fiber.HeaderContentEncoding)))
}

// errNotGzip is a body that is not what its Content-Encoding says.
var errNotGzip = &message.MalformedError{Reason: "is not gzip, as Content-Encoding says, or it ended early"}

// unpacker unpacks a body. Its errors are those of the connection, or
// errNotGzip.
type unpacker struct {
	from   io.Reader
	broken error // of from
	gzip   *gzip.Reader
}

// Read implements io.Reader.
func (u *unpacker) Read(p []byte) (int, error) {
	if u.gzip == nil {
		var err error
		if u.gzip, err = gzip.NewReader(unpackerSource{u}); err != nil {
			u.gzip = nil
			return 0, u.judge(err)
		}
	}
	n, err := u.gzip.Read(p)
	return n, u.judge(err)
}

// judge tells what a connection does from what is wrong with its bytes.
func (u *unpacker) judge(err error) error {
	switch {
	case err == nil:
		return nil
	case u.broken != nil:
		return u.broken
	case err == io.EOF: //nolint:errorlint // as io.Reader has it
		return io.EOF
	}
	return errNotGzip
}

// unpackerSource remembers why the packed bytes ended.
type unpackerSource struct{ *unpacker }

func (s unpackerSource) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if err != nil && err != io.EOF {
		s.broken = err
	}
	return n, err
}
