package ingest_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/services/ingest"
	"github.com/message-dispatcher/dispatch/services/ingest/spectest"
)

// spec is the description that a running ingest serves.
type spec struct{ *spectest.Spec }

func readSpec(i *installation) spec {
	i.t.Helper()
	served := i.send(http.MethodGet, "/openapi.yaml", "")
	require.Equal(i.t, http.StatusOK, served.status)
	require.Equal(i.t, "application/yaml", served.header.Get("Content-Type"))
	return spec{spectest.Read(i.t, served.body)}
}

func (s spec) check(schema *openapi3.SchemaRef, value any) error { return s.Check(schema, value) }

func (s spec) checkResponse(t *testing.T, op *openapi3.Operation, r reply) {
	t.Helper()
	s.CheckResponse(t, op, r.status, r.header, r.body)
}

func (s spec) operations() map[string]*openapi3.Operation { return s.Operations() }

func decode(t *testing.T, text []byte) any {
	t.Helper()
	var value any
	require.NoError(t, json.Unmarshal(text, &value), "%s", text)
	return value
}

// wanted returns the status that an example expects.
func wanted(t *testing.T, example *openapi3.Example) int {
	t.Helper()
	status, err := strconv.Atoi(fmt.Sprint(example.Extensions["x-status"]))
	require.NoError(t, err, "an example of a request has the status of its response in x-status: %+v", example)
	return status
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

// TestTheDescriptionIsComplete requires a description of every operation and
// parameter, and an example of every request and response.
func TestTheDescriptionIsComplete(t *testing.T) {
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

// The codes are the constants of pkg/message.
func TestTheDescriptionKnowsEveryCode(t *testing.T) {
	t.Parallel()
	s := readSpec(start(t))
	require.ElementsMatch(t, constants(t, "../../pkg/message/problem.go", "Problem"), s.Components.Schemas["ProblemCode"].Value.Enum)
	require.ElementsMatch(t, constants(t, "../../pkg/message/validation_errors.go", "Code"),
		s.Components.Schemas["FieldError"].Value.Properties["code"].Value.Enum)
}

// constants returns the values of a file's string constants whose names begin with
// a prefix.
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
