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

// openPaths need no key: probes have none, and how the API is used is no
// secret.
var openPaths = []string{"/health", "/health/ready", "/openapi.yaml", "/docs"}

// localHosts are the names by which a service without keys may be called. A
// web page that has its own name resolved to this machine sends another.
var localHosts = []string{"localhost", "127.0.0.1", "::1"}

// admit lets a request in: with a key that is known, or, without keys, by one
// of this machine's local names.
func (a *API) admit(c *fiber.Ctx) error {
	if len(a.keys) == 0 {
		return checkHost(c)
	}
	if slices.Contains(openPaths, c.Path()) || strings.HasPrefix(c.Path(), "/docs/") {
		return nil
	}
	presented := presentedKey(c)
	if presented == "" {
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="dispatch"`)
		return message.NewProblem(http.StatusUnauthorized, message.ProblemUnauthorized, "send a key as Authorization: Bearer KEY, or as X-API-Key")
	}
	name, known := a.keys.Owner(presented)
	if !known {
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="dispatch", error="invalid_token"`)
		return message.NewProblem(http.StatusUnauthorized, message.ProblemUnauthorized, "the key is not known")
	}
	c.Locals(localCaller, name)
	return nil
}

func presentedKey(c *fiber.Ctx) string {
	scheme, key, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(key)
	}
	return c.Get("X-API-Key")
}

// caller names whose idempotency keys a request is about. Without keys there
// is one caller, without a name.
func caller(c *fiber.Ctx) string {
	name, _ := c.Locals(localCaller).(string)
	return name
}

func checkHost(c *fiber.Ctx) error {
	host := string(c.Request().Header.Host()) // not c.Hostname(), which believes X-Forwarded-Host
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

// demandType refuses a body that is of none of some types.
//
// An empty body may come without a type where none is needed. Without keys
// that holds only for requests that no web page can have sent: browsers tell
// the origin of whatever a page posts, and ask before they post JSON for it.
func (a *API) demandType(c *fiber.Ctx, bodyNeeded bool, types ...string) error {
	given := c.Get(fiber.HeaderContentType)
	if c.Request().Header.ContentLength() == 0 && !bodyNeeded {
		if len(a.keys) > 0 || (given == "" && c.Get(fiber.HeaderOrigin) == "" && c.Get("Sec-Fetch-Site") == "") {
			return nil
		}
	}
	if !slices.Contains(types, contentType(c)) {
		types = slices.Compact(slices.Sorted(slices.Values(types)))
		c.Set("Accept-Post", strings.Join(types, ", "))
		return message.NewProblem(http.StatusUnsupportedMediaType, message.ProblemUnsupportedMedia, "Content-Type must be "+strings.Join(types, " or ")+isType(given))
	}
	return demandCoding(c)
}

// isType ends the sentence about a content type that is not taken.
func isType(given string) string {
	if given == "" {
		return "; there is none"
	}
	return fmt.Sprintf(", is %.80q", given)
}
