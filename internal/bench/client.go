package bench

import (
	"bytes"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	contentJSON  = "application/json"
	contentLines = "application/x-ndjson"
)

// call is a POST.
type call struct{ path, body, contentType string }

// client is one connection of the load. It costs a fraction of net/http's,
// and it shares the machine with what is measured.
type client struct {
	*fasthttp.Client
	url string
}

func newClient(url string) client {
	const patience = 60 * time.Second
	return client{&fasthttp.Client{
		MaxConnsPerHost: 1, ReadTimeout: patience, WriteTimeout: patience,
		MaxIdemponentCallAttempts: 1, NoDefaultUserAgentHeader: true,
	}, url}
}

// post returns the body of a good answer.
func (c client) post(to call) ([]byte, error) {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	request.Header.SetMethod(fasthttp.MethodPost)
	request.SetRequestURI(c.url + to.path)
	request.Header.SetContentType(to.contentType)
	request.SetBodyString(to.body)
	if err := c.Do(request, response); err != nil {
		return nil, fmt.Errorf("put messages in: %w", err)
	}
	if status := response.StatusCode(); status >= 300 {
		return nil, fmt.Errorf("put messages in: status %d: %s", status, response.Body())
	}
	return bytes.Clone(response.Body()), nil
}
