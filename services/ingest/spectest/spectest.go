// Package spectest compares the responses of a running ingest with the description
// that it serves.
package spectest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

const lineType = "application/x-ndjson"

// Spec is openapi.yaml, but strict: a response must not have a field that it does
// not name. It remembers which fields responses had. It is safe for concurrent use,
// except Seen.
type Spec struct {
	*openapi3.T
	names map[*openapi3.Schema]string
	mu    sync.Mutex
	Seen  map[string]bool // fields that responses had: "Schema.field"
}

// Read parses a description.
func Read(t testing.TB, yaml []byte) *Spec {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(yaml)
	require.NoError(t, err)
	// Not the examples: some are invalid on purpose.
	require.NoError(t, doc.Validate(t.Context(), openapi3.DisableExamplesValidation()))
	strict := false
	names := map[*openapi3.Schema]string{}
	for name, ref := range doc.Components.Schemas {
		s := ref.Value
		names[s] = name
		if len(s.Properties) > 0 && s.AdditionalProperties.Has == nil && s.AdditionalProperties.Schema == nil {
			s.AdditionalProperties.Has = &strict
		}
	}
	return &Spec{T: doc, names: names, Seen: map[string]bool{}}
}

// Check compares a value with a schema.
func (s *Spec) Check(schema *openapi3.SchemaRef, value any) error {
	if err := s.ValidateSchemaJSON(schema.Value, value); err != nil {
		return err
	}
	s.note(schema, value)
	return nil
}

// note remembers the fields of a value.
func (s *Spec) note(schema *openapi3.SchemaRef, value any) {
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
					s.Seen[s.names[schema.Value]+"."+name] = true
					walk(of, field)
				} else if of := schema.Value.AdditionalProperties.Schema; of != nil {
					walk(of, field)
				}
			}
		}
	}
	walk(schema, value)
}

// CheckResponse compares a response with those that an operation describes.
func (s *Spec) CheckResponse(t testing.TB, op *openapi3.Operation, status int, header http.Header, body []byte) {
	t.Helper()
	ref := op.Responses.Status(status)
	if ref == nil {
		ref = op.Responses.Default()
	}
	require.NotNil(t, ref, "%s does not know of a %d", op.OperationID, status)
	s.checkHeaders(t, ref.Value, status, header)
	media, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	content := ref.Value.Content[media]
	require.NotNil(t, content, "%s does not know of a %d of type %s: %s", op.OperationID, status, media, body)
	switch media {
	case "application/json", "application/problem+json":
		require.NoError(t, s.Check(content.Schema, decode(t, body)), "%s responded with %d: %s", op.OperationID, status, body)
	case lineType:
		for text := range strings.Lines(string(body)) {
			require.NoError(t, s.Check(s.Components.Schemas["LineResult"], decode(t, []byte(text))), "%s responded with %s", op.OperationID, text)
		}
	}
}

// ofHTTP are headers of HTTP itself. A description need not name them.
var ofHTTP = []string{"Content-Type", "Content-Length", "Content-Encoding", "Date", "Connection", "Vary"}

func (s *Spec) checkHeaders(t testing.TB, response *openapi3.Response, status int, header http.Header) {
	t.Helper()
	for name := range header {
		if slices.Contains(ofHTTP, name) {
			continue
		}
		require.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(response.Headers)), func(known string) bool {
			return strings.EqualFold(known, name)
		}), "a %d with the header %s, of which the description does not know", status, name)
	}
	for name, described := range response.Headers {
		given := header.Values(name)
		require.False(t, described.Value.Required && len(given) == 0, "a %d without the header %s", status, name)
		for _, value := range given {
			require.NoError(t, s.ValidateSchemaJSON(described.Value.Schema.Value, value), "%s: %s", name, value)
		}
	}
}

// Operations returns every operation of the description as "METHOD /path".
func (s *Spec) Operations() map[string]*openapi3.Operation {
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

func decode(t testing.TB, text []byte) any {
	t.Helper()
	var value any
	require.NoError(t, json.Unmarshal(text, &value), "%s", text)
	return value
}
