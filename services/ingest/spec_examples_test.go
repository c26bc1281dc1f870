package ingest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// exampleID is the id of the message in the examples of the description.
const exampleID = "019a0c6e-7c1b-7d31-8a5e-3f0c5b1d2e4f"

// prepare stores that message with every field set, in a state that the operation
// allows.
func (i *installation) prepare(op string) {
	i.t.Helper()
	status := map[string]message.Status{"cancelMessage": message.Pending, "retryMessage": message.Failed, "retryMessages": message.Failed}[op]
	if status == "" {
		status = message.Sent
	}
	for _, statement := range []string{
		`DELETE FROM messages WHERE id = '` + exampleID + `'`,
		`INSERT INTO messages (id, created_at, updated_at, deliver_at, expires_at, queued_at, sent_at, next_attempt_at, attempts, status,
			destination, recipient, content, type, metadata, external_id, last_error)
		VALUES ('` + exampleID + `', now(), now(), now(), now() + interval '1 hour', now(), now(), now() + interval '1 minute', 1, '` + string(status) + `',
			'default', '+905551111111', 'hello', 'invoice.paid', '{"tenant":"acme"}', 'x-1', '503 Service Unavailable')`,
		`INSERT INTO attempts VALUES ('` + exampleID + `', 1, 1, 1, now(), 1500, 503, 'retry', '503 Service Unavailable', 'later', false),
			('` + exampleID + `', 1, 2, 1, now(), 1500, NULL, 'retry', 'connection refused', NULL, true) ON CONFLICT DO NOTHING`,
	} {
		_, err := i.pool.Exec(i.t.Context(), statement)
		require.NoError(i.t, err)
	}
}

// probe is the request of an example, and the status of its response.
type probe struct {
	name, path, body, media string
	status                  int
}

// probes returns the requests of an operation: one for each example of its body
// and one for each example of a parameter. Everything else in them is valid.
func probes(t *testing.T, path string, op *openapi3.Operation) []probe {
	t.Helper()
	plain := probe{name: op.OperationID, path: path, status: http.StatusOK}
	required := url.Values{}
	for _, p := range op.Parameters {
		if p.Value.In == openapi3.ParameterInQuery && p.Value.Required {
			required.Set(p.Value.Name, text(firstGood(t, p.Value.Examples)))
		}
		if p.Value.In == openapi3.ParameterInPath {
			plain.path = strings.ReplaceAll(plain.path, "{"+p.Value.Name+"}", text(firstGood(t, p.Value.Examples)))
		}
	}
	var all []probe
	if op.RequestBody != nil {
		for media, content := range op.RequestBody.Value.Content {
			for name, example := range content.Examples {
				p := plain
				p.name, p.media, p.status = op.OperationID+" with "+media+" "+name, media, wanted(t, example.Value)
				if p.body = text(example.Value.Value); media != lineType {
					encoded, err := json.Marshal(example.Value.Value)
					require.NoError(t, err)
					p.body = string(encoded)
				}
				all = append(all, p)
			}
		}
	} else {
		p := plain
		p.path += queryOf(required, "", nil)
		all = append(all, p)
	}
	for _, parameter := range op.Parameters {
		for name, example := range parameter.Value.Examples {
			p := plain
			p.name, p.status = op.OperationID+" with "+parameter.Value.Name+" "+name, wanted(t, example.Value)
			switch parameter.Value.In {
			case openapi3.ParameterInPath:
				p.path = strings.ReplaceAll(path, "{"+parameter.Value.Name+"}", text(example.Value.Value))
			case openapi3.ParameterInQuery:
				p.path += queryOf(required, parameter.Value.Name, example.Value.Value)
			}
			all = append(all, p)
		}
	}
	// A repeat must follow the request that it repeats.
	slices.SortFunc(all, func(a, b probe) int { return strings.Compare(order(a)+a.name, order(b)+b.name) })
	return all
}

func order(p probe) string {
	switch p.status {
	case http.StatusCreated:
		return "1"
	case http.StatusOK:
		return "2"
	}
	return "3"
}

func firstGood(t *testing.T, examples openapi3.Examples) any {
	t.Helper()
	for _, example := range examples {
		if wanted(t, example.Value) == http.StatusOK {
			return example.Value.Value
		}
	}
	require.FailNow(t, "a parameter of a path has a good example")
	return nil
}

func text(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	return fmt.Sprint(value)
}

// queryOf returns a query with the required parameters and, if name is set, one
// more.
func queryOf(required url.Values, name string, value any) string {
	q := maps.Clone(required)
	if list, ok := value.([]any); ok {
		for _, item := range list {
			q.Add(name, text(item))
		}
	} else if name != "" {
		q.Set(name, text(value))
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// needsNATS are the operations that need NATS, or a dispatcher. Neither is running,
// so the response is a 503. test/e2e has tests with both.
var needsNATS = []string{"start", "stop", "configure", "eraseMessages", "schedulerStart", "schedulerStop"}

// TestTheServiceDoesWhatItsDescriptionSays sends every example of every operation,
// and compares each response with the description: status, type, headers and
// fields. In the end, every field of the description must have occurred.
func TestTheServiceDoesWhatItsDescriptionSays(t *testing.T) {
	t.Parallel()
	i := start(t)
	require.NoError(t, i.store.ProvisionSchedule(t.Context(), time.Minute, 2))
	s := readSpec(i)
	for name, op := range s.operations() {
		method, path, _ := strings.Cut(name, " ")
		for _, p := range probes(t, path, op) {
			i.prepare(op.OperationID)
			if p.status == http.StatusOK && slices.Contains(needsNATS, op.OperationID) {
				p.status = http.StatusServiceUnavailable
			}
			r := i.send(method, p.path, p.body, "Content-Type", p.media)
			require.Equal(t, p.status, r.status, "%s: %s", p.name, r.body)
			s.checkResponse(t, op, r)
		}
	}
	s.checkRequestExamples(t)
	s.checkResponseExamples(t)

	erasure := `{"dryRun":false,"erased":1,"cancelled":1,"attempts":1,"cached":1,"unpublished":1,"intake":1,"rejected":1,"eventsUntil":"2026-02-07T12:00:00Z","more":true}`
	require.NoError(t, s.check(s.Components.Schemas["ErasureResult"], decode(t, []byte(erasure))))
	// These need a dispatcher, several instances or a timeout.
	changed := true
	overview, err := json.Marshal(message.Overview{
		Changed: &changed, State: message.StateRunning, BatchSize: 2, Counts: zeroCounts(),
		Instances: []message.Instance{{ID: "a", Service: "ingest", Since: time.Now()}},
	})
	require.NoError(t, err)
	require.NoError(t, s.check(s.Components.Schemas["Overview"], decode(t, overview)))
	require.NoError(t, s.check(s.Components.Schemas["SchedulerTold"], decode(t, []byte(`{"message":"scheduler started successfully","status":"running"}`))))
	require.NoError(t, s.check(s.Components.Schemas["BulkRetryResult"], decode(t, []byte(`{"matched":1,"retried":0,"dryRun":false,"more":true}`))))
	require.NoError(t, s.check(s.Components.Schemas["Problem"], decode(t, []byte(`{"type":"t","title":"t","status":503,"code":"unavailable","retried":7}`))))

	for name, schema := range s.Components.Schemas {
		for field := range schema.Value.Properties {
			require.True(t, ofRequests(name) || s.Seen[name+"."+field], "no response ever had %s.%s", name, field)
		}
	}
}

// ofRequests reports whether a schema occurs only in requests.
func ofRequests(name string) bool {
	return slices.Contains([]string{"NewMessage", "BulkRetry", "Retry", "Pace"}, name)
}

func zeroCounts() map[message.Status]int64 {
	counts := map[message.Status]int64{}
	for _, status := range message.Statuses() {
		counts[status] = 0
	}
	return counts
}

// checkRequestExamples checks that the schemas allow the valid examples, and reject
// those that are not a message or a filter.
func (s spec) checkRequestExamples(t *testing.T) {
	t.Helper()
	for name, op := range s.operations() {
		if op.RequestBody == nil {
			continue
		}
		content := op.RequestBody.Value.Content["application/json"]
		for example, ref := range content.Examples {
			err := s.ValidateSchemaJSON(content.Schema.Value, ref.Value.Value)
			switch status := wanted(t, ref.Value); {
			case status < 300, status == http.StatusConflict:
				require.NoError(t, err, "%s %s", name, example)
			default:
				require.Error(t, err, "%s %s", name, example)
			}
		}
	}
}

func (s spec) checkResponseExamples(t *testing.T) {
	t.Helper()
	for name, op := range s.operations() {
		for status, ref := range op.Responses.Map() {
			for media, content := range ref.Value.Content {
				if media == lineType {
					continue
				}
				for example, ref := range content.Examples {
					require.NoError(t, s.ValidateSchemaJSON(content.Schema.Value, ref.Value.Value), "%s %s %s", name, status, example)
				}
			}
		}
	}
}

// These responses have no example.
func TestEveryErrorResponseIsDescribed(t *testing.T) {
	t.Parallel()
	open, closed := start(t), start(t, "API_KEYS", "shop:secret")
	s := readSpec(closed)
	for name, op := range s.operations() {
		method, path, _ := strings.Cut(name, " ")
		path = strings.NewReplacer("{id}", exampleID, "{file}", "LICENSE.rapidoc.txt").Replace(path)
		forbidden := open.send(method, path, "", "Host", "elsewhere.example")
		require.Equal(t, http.StatusForbidden, forbidden.status)
		s.checkResponse(t, op, forbidden)
		s.checkResponse(t, op, open.send(method, path+"?unknown=1", `{}`))

		without := closed.send(method, path, "")
		s.checkResponse(t, op, without)
		public := op.Security != nil
		require.Equal(t, !public, without.status == http.StatusUnauthorized, "%s responds with %d without a key", name, without.status)
		s.checkResponse(t, op, closed.send(http.MethodTrace, path, "", "X-API-Key", "secret"))
		if op.RequestBody != nil {
			wrong := closed.send(method, path, "x", "X-API-Key", "secret", "Content-Type", "text/plain")
			require.Equal(t, http.StatusUnsupportedMediaType, wrong.status)
			s.checkResponse(t, op, wrong)
			large := closed.send(method, path, strings.Repeat(" ", 17<<20), "Authorization", "Bearer secret")
			require.Equal(t, http.StatusRequestEntityTooLarge, large.status)
			s.checkResponse(t, op, large)
		}
	}
}

func TestThePageWorksOffline(t *testing.T) {
	t.Parallel()
	i := start(t, "API_KEYS", "secret")
	page := i.send(http.MethodGet, "/docs", "")
	require.Equal(t, http.StatusOK, page.status)
	policy := page.header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.NotContains(t, policy, "http")
	require.NotContains(t, string(page.body), "//", "it names nothing that is elsewhere")
	require.Contains(t, string(page.body), `src="/docs/rapidoc-min.js"`)

	packed := i.send(http.MethodGet, "/docs/rapidoc-min.js", "", "Accept-Encoding", "gzip")
	plain := i.send(http.MethodGet, "/docs/rapidoc-min.js", "", "Accept-Encoding", "identity")
	require.Equal(t, "gzip", packed.header.Get("Content-Encoding"))
	require.Empty(t, plain.header.Get("Content-Encoding"))
	require.Less(t, len(packed.body), len(plain.body)/3)
	require.Contains(t, string(plain.body), "RapiDoc 9.3.8")
	require.Empty(t, plain.header.Get("Access-Control-Allow-Origin"))
}
