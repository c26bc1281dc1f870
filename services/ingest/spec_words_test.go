package ingest_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

// nonsense is a word that no request knows, so every request is rejected.
const nonsense = "thereIsNoSuchWord"

// TestTheDescriptionKnowsEveryFieldOfARequest tries every word in the code as a
// parameter and as a field of each operation. Exactly those that the service does
// not reject as unknown must be in the description.
func TestTheDescriptionKnowsEveryFieldOfARequest(t *testing.T) {
	t.Parallel()
	i := start(t)
	words := wordsOf(t, "*.go", "*/*.go", "*/*/*.go", "../../pkg/message/*.go")
	require.Greater(t, len(words), 100)
	for name, op := range readSpec(i).operations() {
		method, path, _ := strings.Cut(name, " ")
		if !strings.HasPrefix(path, "/api/") {
			continue // programs that read it may add parameters
		}
		path = strings.ReplaceAll(path, "{id}", exampleID)
		var parameters []string
		for _, p := range op.Parameters {
			if p.Value.In == openapi3.ParameterInQuery {
				parameters = append(parameters, p.Value.Name)
			}
		}
		known := i.known(words, func(some []string) reply {
			return i.send(method, path+"?"+strings.Join(some, "=1&")+"=1", "")
		}, http.StatusBadRequest)
		require.ElementsMatch(t, parameters, known, "the parameters of %s", name)

		if op.RequestBody == nil || op.RequestBody.Value.Content["application/json"] == nil {
			continue
		}
		schema := op.RequestBody.Value.Content["application/json"].Schema.Value
		if !schema.Type.Is("object") || len(schema.Properties) == 0 {
			continue // an array of the bodies of another operation, or an empty object
		}
		known = i.known(words, func(some []string) reply {
			fields := map[string]int{}
			for _, word := range some {
				fields[word] = 1
			}
			body, err := json.Marshal(fields)
			require.NoError(t, err)
			return i.send(method, path, string(body))
		}, http.StatusUnprocessableEntity)
		require.ElementsMatch(t, slices.Collect(maps.Keys(schema.Properties)), known, "the fields of %s", name)
	}
}

// known returns the words that a request does not reject as unknown. A response
// names up to twenty errors, so it tries a few words at a time.
func (i *installation) known(words []string, ask func([]string) reply, status int) []string {
	i.t.Helper()
	var known []string
	for some := range slices.Chunk(words, 12) {
		refused := ask(append([]string{nonsense}, some...))
		require.Equal(i.t, status, refused.status, "%s", refused.body)
		var p problem
		require.NoError(i.t, json.Unmarshal(refused.body, &p))
		unknown := map[string]bool{}
		for _, e := range p.Errors {
			if e.Code == "unknown_parameter" || e.Code == "unknown_field" {
				unknown[e.Field] = true
			}
		}
		require.True(i.t, unknown[nonsense], "%s", refused.body)
		for _, word := range some {
			if !unknown[word] {
				known = append(known, word)
			}
		}
	}
	return known
}

// wordsOf returns the words in the code: string literals of one word, and names of
// JSON fields.
func wordsOf(t *testing.T, patterns ...string) []string {
	t.Helper()
	word, field := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,39}$`), regexp.MustCompile(`json:"(\w+)`)
	found := map[string]bool{}
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			require.NoError(t, err)
			ast.Inspect(parsed, func(n ast.Node) bool {
				literal, ok := n.(*ast.BasicLit)
				if !ok || literal.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(literal.Value)
				require.NoError(t, err)
				if match := field.FindStringSubmatch(text); match != nil {
					text = match[1]
				}
				if word.MatchString(text) {
					found[text] = true
				}
				return true
			})
		}
	}
	return slices.Sorted(maps.Keys(found))
}
