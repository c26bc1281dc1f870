package ingest_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/services/ingest"
)

// spec is openapi.yaml, made strict: an answer must not hold a field that it
// does not name. It notes which of its fields answers held.
type spec struct {
	*openapi3.T
	names map[*openapi3.Schema]string
	mu    sync.Mutex
	seen  map[string]bool // "Schema.field"
}

// readSpec reads the description that a running ingest serves.
func readSpec(i *installation) *spec {
	i.t.Helper()
	served := i.send(http.MethodGet, "/openapi.yaml", "")
	require.Equal(i.t, http.StatusOK, served.status)
	require.Equal(i.t, "application/yaml", served.header.Get("Content-Type"))
	doc, err := openapi3.NewLoader().LoadFromData(served.body)
	require.NoError(i.t, err)
	// Examples are held against the schemas below: some are bad on purpose.
	require.NoError(i.t, doc.Validate(i.t.Context(), openapi3.DisableExamplesValidation()))
	strict := false
	names := map[*openapi3.Schema]string{}
	for name, ref := range doc.Components.Schemas {
		s := ref.Value
		names[s] = name
		if len(s.Properties) > 0 && s.AdditionalProperties.Has == nil && s.AdditionalProperties.Schema == nil {
			s.AdditionalProperties.Has = &strict
		}
	}
	return &spec{T: doc, names: names, seen: map[string]bool{}}
}

// check holds a value against a schema.
func (s *spec) check(schema *openapi3.SchemaRef, value any) error {
	if err := s.ValidateSchemaJSON(schema.Value, value); err != nil {
		return err
	}
	s.note(schema, value)
	return nil
}

// note writes down the fields that a value holds.
func (s *spec) note(schema *openapi3.SchemaRef, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var walk func(*openapi3.SchemaRef, any)
	walk = func(schema *openapi3.SchemaRef, value any) {
		switch value := value.(type) {
		case []any:
			for _, item := range value {
				if schema.Value.Items != nil {
					walk(schema.Value.Items, item)
				}
			}
		case map[string]any:
			for name, field := range value {
				if of := schema.Value.Properties[name]; of != nil {
					s.seen[s.names[schema.Value]+"."+name] = true
					walk(of, field)
				} else if of := schema.Value.AdditionalProperties.Schema; of != nil {
					walk(of, field)
				}
			}
		}
	}
	walk(schema, value)
}

// answered holds an answer against what its operation may answer.
func (s *spec) answered(t *testing.T, op *openapi3.Operation, r reply) {
	t.Helper()
	ref := op.Responses.Status(r.status)
	if ref == nil {
		ref = op.Responses.Default()
	}
	require.NotNil(t, ref, "%s does not know of a %d", op.OperationID, r.status)
	s.checkHeaders(t, ref.Value, r)
	media, _, _ := strings.Cut(r.header.Get("Content-Type"), ";")
	content := ref.Value.Content[media]
	require.NotNil(t, content, "%s does not know of a %d of type %s: %s", op.OperationID, r.status, media, r.body)
	switch media {
	case "application/json", "application/problem+json":
		require.NoError(t, s.check(content.Schema, decode(t, r.body)), "%s answered %d: %s", op.OperationID, r.status, r.body)
	case lineType:
		for text := range strings.Lines(string(r.body)) {
			require.NoError(t, s.check(s.Components.Schemas["LineResult"], decode(t, []byte(text))), "%s answered %s", op.OperationID, text)
		}
	}
}

// ofHTTP are headers of HTTP itself, of which an OpenAPI document need not
// speak.
var ofHTTP = []string{"Content-Type", "Content-Length", "Content-Encoding", "Date", "Connection", "Vary"}

func (s *spec) checkHeaders(t *testing.T, response *openapi3.Response, r reply) {
	t.Helper()
	for name := range r.header {
		if slices.Contains(ofHTTP, name) {
			continue
		}
		require.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(response.Headers)), func(known string) bool {
			return strings.EqualFold(known, name)
		}), "a %d with the header %s, of which the description does not know", r.status, name)
	}
	for name, header := range response.Headers {
		given := r.header.Values(name)
		require.False(t, header.Value.Required && len(given) == 0, "a %d without the header %s", r.status, name)
		for _, value := range given {
			require.NoError(t, s.ValidateSchemaJSON(header.Value.Schema.Value, value), "%s: %s", name, value)
		}
	}
}

func decode(t *testing.T, text []byte) any {
	t.Helper()
	var value any
	require.NoError(t, json.Unmarshal(text, &value), "%s", text)
	return value
}

// wanted is the status that an example says it is answered with.
func wanted(t *testing.T, example *openapi3.Example) int {
	t.Helper()
	status, err := strconv.Atoi(fmt.Sprint(example.Extensions["x-answer"]))
	require.NoError(t, err, "an example of a request says in x-answer what it is answered with: %+v", example)
	return status
}

// operations yields every operation of the description as "METHOD /path".
func (s *spec) operations() map[string]*openapi3.Operation {
	all := map[string]*openapi3.Operation{}
	for path, item := range s.Paths.Map() {
		for method, op := range item.Operations() {
			op.Parameters = append(slices.Clone(item.Parameters), op.Parameters...)
			all[method+" "+path] = op
		}
		item.Parameters = nil
	}
	return all
}

func TestTheDescriptionKnowsEveryRouteAndNoOther(t *testing.T) {
	t.Parallel()
	var described, there []string
	for name := range readSpec(start(t)).operations() {
		described = append(described, name)
	}
	for _, route := range ingest.Routes() {
		there = append(there, regexp.MustCompile(`:(\w+)`).ReplaceAllString(route, "{$1}"))
	}
	require.ElementsMatch(t, there, described)
}

// TestTheDescriptionLeavesNothingUnsaid wants words for every operation and
// parameter, and an example of every body that goes in or comes out.
func TestTheDescriptionLeavesNothingUnsaid(t *testing.T) {
	t.Parallel()
	for name, op := range readSpec(start(t)).operations() {
		require.NotEmpty(t, op.Summary, name)
		require.NotEmpty(t, op.Description, name)
		for _, parameter := range op.Parameters {
			require.NotEmpty(t, parameter.Value.Description, "%s: parameter %s", name, parameter.Value.Name)
		}
		if op.RequestBody != nil {
			for media, content := range op.RequestBody.Value.Content {
				require.NotEmpty(t, content.Examples, "%s: a request of type %s", name, media)
			}
		}
		for status, response := range op.Responses.Map() {
			require.NotEmpty(t, *response.Value.Description, "%s: %s", name, status)
			require.NotEmpty(t, response.Value.Content, "%s: %s", name, status)
			for media, content := range response.Value.Content {
				require.NotEmpty(t, content.Examples, "%s: a %s of type %s", name, status, media)
			}
		}
	}
}

// TestTheDescriptionKnowsEveryCode compares it with the constants.
func TestTheDescriptionKnowsEveryCode(t *testing.T) {
	t.Parallel()
	s := readSpec(start(t))
	require.ElementsMatch(t, constants(t, "problem.go", "code"), s.Components.Schemas["ProblemCode"].Value.Enum)
	require.ElementsMatch(t, append(constants(t, "../../pkg/message/problems.go", "Code"), constants(t, "filter.go", "code")...),
		s.Components.Schemas["FieldError"].Value.Properties["code"].Value.Enum)
}

// constants returns the values of a file's string constants that begin with a
// prefix.
func constants(t *testing.T, file, prefix string) (values []any) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	require.NoError(t, err)
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) || len(spec.Values) != 1 {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
			text, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			values = append(values, text)
		}
		return true
	})
	return values
}
