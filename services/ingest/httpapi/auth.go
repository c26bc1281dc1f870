package httpapi

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// publicPaths need no key: probes have none, and the documentation is no secret.
var publicPaths = []string{"/health", "/health/ready", "/openapi.yaml", "/docs"}

// localHosts are the hosts under which a service without keys may be called. A
// web page can make its own host name resolve to this machine; then its requests
// have another host (DNS rebinding).
var localHosts = []string{"localhost", "127.0.0.1", "::1"}

// authenticate accepts a request with a known key. If no keys are configured, it
// accepts requests to a local host.
func (a *API) authenticate(c *fiber.Ctx) error {
	if len(a.keys) == 0 {
		return checkHost(c)
	}
	if slices.Contains(publicPaths, c.Path()) || strings.HasPrefix(c.Path(), "/docs/") {
		return nil
	}
	key := keyOf(c)
	if key == "" {
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="dispatch"`)
		return message.NewProblem(http.StatusUnauthorized, message.ProblemUnauthorized, "send a key as Authorization: Bearer KEY, or as X-API-Key")
	}
	name, known := a.keys.Owner(key)
	if !known {
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="dispatch", error="invalid_token"`)
		return message.NewProblem(http.StatusUnauthorized, message.ProblemUnauthorized, "the key is not known")
	}
	c.Locals(localCaller, name)
	return nil
}

// keyOf returns the key that a request has sent; empty if there is none.
func keyOf(c *fiber.Ctx) string {
	scheme, key, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(key)
	}
	return c.Get("X-API-Key")
}

// caller returns the name of the key. It is the namespace of idempotency keys.
// Without keys it is empty.
func caller(c *fiber.Ctx) string {
	name, _ := c.Locals(localCaller).(string)
	return name
}

func checkHost(c *fiber.Ctx) error {
	host := string(c.Request().Header.Host()) // c.Hostname() would trust X-Forwarded-Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if !slices.Contains(localHosts, host) {
		return message.NewProblem(http.StatusForbidden, message.ProblemHostNotAllowed,
			"without API_KEYS the service answers to localhost, 127.0.0.1 and [::1] alone")
	}
	return nil
}

// checkContentType returns an error unless a body has one of the types and a
// supported encoding.
//
// An empty body needs no type unless a body is required. If no keys are
// configured, that holds only for requests that no web page can have sent: for
// these, browsers send the origin, and ask first before they send JSON.
func (a *API) checkContentType(c *fiber.Ctx, bodyRequired bool, types ...string) error {
	given := c.Get(fiber.HeaderContentType)
	if c.Request().Header.ContentLength() == 0 && !bodyRequired {
		if len(a.keys) > 0 || (given == "" && c.Get(fiber.HeaderOrigin) == "" && c.Get("Sec-Fetch-Site") == "") {
			return nil
		}
	}
	if !slices.Contains(types, contentType(c)) {
		types = slices.Compact(slices.Sorted(slices.Values(types)))
		c.Set("Accept-Post", strings.Join(types, ", "))
		is := "; there is none"
		if given != "" {
			is = fmt.Sprintf(", is %.80q", given)
		}
		return message.NewProblem(http.StatusUnsupportedMediaType, message.ProblemUnsupportedMedia, "Content-Type must be "+strings.Join(types, " or ")+is)
	}
	return checkContentEncoding(c)
}
