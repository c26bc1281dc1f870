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

// exampleID is the message that the description's examples are about.
const exampleID = "019a0c6e-7c1b-7d31-8a5e-3f0c5b1d2e4f"

// prepare makes that message one of which everything is known, in the state
// that an operation leads on from.
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

// probe is a request that an example makes, and what it is to be answered.
type probe struct {
	name, path, body, media string
	status                  int
}

// probes makes the requests of an operation: one for each example of its
// body, and one for each of its parameters, with all else as it should be.
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
	// Repeats come after what they repeat: the examples' names don't tell.
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

// queryOf is the query of a request that sets a parameter, if it has a name,
// besides those that are required.
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

// needsNATS are the operations that need NATS, or a dispatcher. There is none
// here, so that what they would do is a 503; pipeline has them.
var needsNATS = []string{"start", "stop", "configure", "eraseMessages", "schedulerStart", "schedulerStop"}

// TestTheServiceDoesWhatItsDescriptionSays sends every example of every
// operation, and holds each answer against the description: its status, its
// type, its headers and every field. At the end no field is left that only
// the description knows.
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
			s.answered(t, op, r)
		}
	}
	s.checkRequestExamples(t)
	s.checkResponseExamples(t)

	erasure := `{"dryRun":false,"erased":1,"cancelled":1,"attempts":1,"cached":1,"unpublished":1,"intake":1,"rejected":1,"eventsUntil":"2026-02-07T12:00:00Z","more":true}`
	require.NoError(t, s.check(s.Components.Schemas["ErasureResult"], decode(t, []byte(erasure))))
	// What only a dispatcher, several instances and a lack of time bring.
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
			require.True(t, ofRequests(name) || s.Seen[name+"."+field], "no answer ever held %s.%s", name, field)
		}
	}
}

// ofRequests says whether a schema is one of requests: no answer holds it.
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

// checkRequestExamples has the schemas allow what is good, and refuse what is
// not a message or no filter at all.
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

// TestEveryRefusalIsDescribed is about answers that no example brings.
func TestEveryRefusalIsDescribed(t *testing.T) {
	t.Parallel()
	open, closed := start(t), start(t, "API_KEYS", "shop:secret")
	s := readSpec(closed)
	for name, op := range s.operations() {
		method, path, _ := strings.Cut(name, " ")
		path = strings.NewReplacer("{id}", exampleID, "{file}", "LICENSE.rapidoc.txt").Replace(path)
		forbidden := open.send(method, path, "", "Host", "elsewhere.example")
		require.Equal(t, http.StatusForbidden, forbidden.status)
		s.answered(t, op, forbidden)
		s.answered(t, op, open.send(method, path+"?unknown=1", `{}`))

		without := closed.send(method, path, "")
		s.answered(t, op, without)
		public := op.Security != nil
		require.Equal(t, !public, without.status == http.StatusUnauthorized, "%s answered %d without a key", name, without.status)
		s.answered(t, op, closed.send(http.MethodTrace, path, "", "X-API-Key", "secret"))
		if op.RequestBody != nil {
			wrong := closed.send(method, path, "x", "X-API-Key", "secret", "Content-Type", "text/plain")
			require.Equal(t, http.StatusUnsupportedMediaType, wrong.status)
			s.answered(t, op, wrong)
			large := closed.send(method, path, strings.Repeat(" ", 17<<20), "Authorization", "Bearer secret")
			require.Equal(t, http.StatusRequestEntityTooLarge, large.status)
			s.answered(t, op, large)
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
