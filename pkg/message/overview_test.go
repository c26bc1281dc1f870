package message

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseConfiguration(t *testing.T) {
	t.Parallel()
	c, err := ParseConfiguration([]byte(` {"interval":"30s","batchSize":10}`))
	require.NoError(t, err)
	interval, size := 30*time.Second, 10
	assert.Equal(t, Configuration{Interval: &interval, BatchSize: &size}, c)

	c, err = ParseConfiguration([]byte(`{"interval":"0s"}`))
	require.NoError(t, err)
	assert.Zero(t, *c.Interval)
	assert.Nil(t, c.BatchSize)
}

func TestParseConfigurationNamesEveryMistake(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		`{}`:                                 {"interval required"},
		`{"interval":30}`:                    {"interval wrong_type"},
		`{"interval":null}`:                  {"interval wrong_type"},
		`{"interval":"soon"}`:                {"interval out_of_range"},
		`{"interval":"-1s"}`:                 {"interval out_of_range"},
		`{"interval":"1us"}`:                 {"interval out_of_range"},
		`{"interval":"721h"}`:                {"interval out_of_range"},
		`{"batchSize":0}`:                    {"batchSize out_of_range"},
		`{"batchSize":1.5}`:                  {"batchSize out_of_range"},
		`{"batchSize":null}`:                 {"batchSize out_of_range"},
		`{"batchSize":10001}`:                {"batchSize out_of_range"},
		`{"batchSize":"10"}`:                 {"batchSize out_of_range"},
		`{"batchSize":1,"batchSize":2}`:      {"batchSize duplicate_field"},
		`{"speed":9,"batchSize":0,"pace":1}`: {"speed unknown_field", "batchSize out_of_range", "pace unknown_field"},
	} {
		_, err := ParseConfiguration([]byte(body))
		assert.Equal(t, want, mistakes(t, err), body)
	}
	for _, body := range []string{``, `[]`, `{"interval"`, `null`, "{\"\xff\":1}"} {
		_, err := ParseConfiguration([]byte(body))
		var malformed *MalformedError
		assert.ErrorAs(t, err, &malformed, body)
	}
}

func TestADurationIsWrittenInGosNotation(t *testing.T) {
	t.Parallel()
	encoded, err := json.Marshal(Duration(2 * time.Minute))
	require.NoError(t, err)
	assert.Equal(t, `"2m0s"`, string(encoded))
	var decoded Duration
	require.NoError(t, json.Unmarshal(encoded, &decoded))
	assert.Equal(t, Duration(2*time.Minute), decoded)
	assert.Error(t, json.Unmarshal([]byte(`"long"`), &decoded))
}
