package message_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// reference is what encoding/json writes without escaping HTML.
func reference(t *testing.T, v any) string {
	t.Helper()
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	require.NoError(t, encoder.Encode(v))
	return string(bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
}

var awkward = []string{
	"", "plain", `"quoted" \ and </script>&`, "line\nbreak\t\x00\x7f", "Ünïcödé ✓ 🙂", "\u2028\u2029", "broken \xff\xc3 end", "\ufffd",
}

// fill sets every exported field of a struct: by chance to nothing, or to a
// value that is hard to write.
func fill(random *rand.Rand, v reflect.Value) {
	for i := range v.NumField() {
		field := v.Field(i)
		if !field.CanSet() || random.IntN(4) == 0 {
			continue
		}
		moment := time.Unix(random.Int64N(4e9), random.Int64N(1e9)).In(time.FixedZone("", random.IntN(3)*5400))
		text := awkward[random.IntN(len(awkward))]
		switch field.Interface().(type) {
		case message.ID:
			field.Set(reflect.ValueOf(message.NewID(moment)))
		case time.Time:
			field.Set(reflect.ValueOf(moment))
		case *time.Time:
			field.Set(reflect.ValueOf(&moment))
		case time.Duration:
			field.SetInt(random.Int64N(int64(time.Hour)))
		case json.RawMessage:
			field.SetBytes([]byte(`{ "b" : [1, 2.50, "<é>"], "a":null }`))
		case []byte:
			field.SetBytes([]byte(text))
		case map[string]string:
			field.Set(reflect.ValueOf(map[string]string{"b" + text: text, "a": "x", "": "y"}))
		default:
			switch field.Kind() {
			case reflect.String:
				field.SetString(text)
			case reflect.Int, reflect.Int64:
				field.SetInt(random.Int64N(1 << 40))
			case reflect.Bool:
				field.SetBool(true)
			case reflect.Struct:
				fill(random, field)
			default:
				panic("a field of type " + field.Type().String() + " is not filled")
			}
		}
	}
}

// TestAppendJSONWritesWhatEncodingJSONDoes fails for a field that only one of
// the two knows.
func TestAppendJSONWritesWhatEncodingJSONDoes(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var m message.Message
		fill(random, reflect.ValueOf(&m).Elem())
		require.Equal(t, reference(t, m), string(m.AppendJSON(nil)))
		var a message.Attempt
		fill(random, reflect.ValueOf(&a).Elem())
		type plain message.Attempt
		require.Equal(t, reference(t, struct {
			plain
			DurationMs float64 `json:"durationMs"`
		}{plain(a), float64(a.Duration.Microseconds()) / 1000}), string(a.AppendJSON([]byte("before"))[len("before"):]))
	}
}

func TestAppendJSONLeavesOutAPayloadThatIsNoJSON(t *testing.T) {
	t.Parallel()
	m := message.Message{Payload: json.RawMessage(`{"broken`)}
	require.True(t, json.Valid(m.AppendJSON(nil)))
	require.NotContains(t, string(m.AppendJSON(nil)), "payload")
}
