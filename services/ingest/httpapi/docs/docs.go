// Package docs serves the description of the HTTP API and the page that shows it.
package docs

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
	//go:embed index.html
	page []byte
	//go:embed page.js
	code []byte
	//go:embed rapidoc-min.js.gz
	script []byte
	//go:embed LICENSE.rapidoc.txt
	license []byte
)

// policy allows the page only its two scripts and this service. RapiDoc needs
// inline styles.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const typeScript = "text/javascript; charset=utf-8"

// caching is long enough for one visit, and short enough that an upgrade is
// seen.
const caching = "public, max-age=300"

// Register adds the routes of the documentation.
func Register(app *fiber.App) {
	app.Get("/openapi.yaml", serveOpenAPI)
	app.Get("/docs", servePage)
	app.Get("/docs/:file", serveFile)
}

func serveOpenAPI(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, "application/yaml")
	return c.Send(openAPI)
}

func servePage(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentSecurityPolicy, policy)
	return sendFile(c, "text/html; charset=utf-8", page)
}

func serveFile(c *fiber.Ctx) error {
	switch c.Params("file") {
	case "page.js":
		return sendFile(c, typeScript, code)
	case "rapidoc-min.js":
		return serveScript(c)
	case "LICENSE.rapidoc.txt":
		return sendFile(c, "text/plain; charset=utf-8", license)
	}
	return fiber.ErrNotFound
}

// serveScript sends the compressed script to clients that accept gzip.
func serveScript(c *fiber.Ctx) error {
	c.Vary(fiber.HeaderAcceptEncoding)
	if strings.Contains(c.Get(fiber.HeaderAcceptEncoding), "gzip") {
		c.Set(fiber.HeaderContentEncoding, "gzip")
		return sendFile(c, typeScript, script)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(script))
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
	c.Set(fiber.HeaderCacheControl, caching)
	return c.Send(body)
}
