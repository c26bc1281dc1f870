package httpapi

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// The description of the API and the page that shows it. RapiDoc 9.3.8 is
// included unchanged, so the page works without internet.
var (
	//go:embed openapi.yaml
	openAPI []byte
	//go:embed docs/index.html
	docsPage []byte
	//go:embed docs/page.js
	docsCode []byte
	//go:embed docs/rapidoc-min.js.gz
	docsScript []byte
	//go:embed docs/LICENSE.rapidoc.txt
	docsLicense []byte
)

// docsPolicy allows the page only its two scripts and this service. RapiDoc needs
// inline styles.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const typeScript = "text/javascript; charset=utf-8"

// docsCaching is long enough for one visit, and short enough that an upgrade is
// seen.
const docsCaching = "public, max-age=300"

func serveOpenAPI(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, "application/yaml")
	return c.Send(openAPI)
}

func serveDocs(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentSecurityPolicy, docsPolicy)
	return sendFile(c, "text/html; charset=utf-8", docsPage)
}

func serveDocsFile(c *fiber.Ctx) error {
	switch c.Params("file") {
	case "page.js":
		return sendFile(c, typeScript, docsCode)
	case "rapidoc-min.js":
		return serveScript(c)
	case "LICENSE.rapidoc.txt":
		return sendFile(c, "text/plain; charset=utf-8", docsLicense)
	}
	return fiber.ErrNotFound
}

// serveScript sends the compressed script to clients that accept gzip.
func serveScript(c *fiber.Ctx) error {
	c.Vary(fiber.HeaderAcceptEncoding)
	if strings.Contains(c.Get(fiber.HeaderAcceptEncoding), "gzip") {
		c.Set(fiber.HeaderContentEncoding, "gzip")
		return sendFile(c, typeScript, docsScript)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(docsScript))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(unpacked)
	if err != nil {
		return err
	}
	return sendFile(c, typeScript, text)
}

func sendFile(c *fiber.Ctx, contentType string, body []byte) error {
	c.Set(fiber.HeaderContentType, contentType)
	c.Set(fiber.HeaderCacheControl, docsCaching)
	return c.Send(body)
}
