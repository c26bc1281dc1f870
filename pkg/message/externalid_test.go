package message_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// The examples of RFC 6901, section 5, with values that can be ids.
const pointed = `{"foo":["bar","baz"],"":"empty","a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,"deep":{"list":[{"id":"x"},[1,{"id":12345678901234567890}]]},"no":null,"yes":true,"twice":1,"twice":2}`

func TestAPointerFindsAnID(t *testing.T) {
	t.Parallel()
	const space = " "
	for pointer, want := range map[string]string{
		"/foo/0": "bar", "/foo/1": "baz", "/": "empty", "/a~1b": "1", "/c%d": "2", "/e^f": "3", "/g|h": "4", `/i\j`: "5", `/k"l`: "6", "/" + space: "7", "/m~0n": "8",
		"/deep/list/0/id": "x", "/deep/list/1/1/id": "12345678901234567890", "/twice": "1",
		"/foo": "", "/foo/2": "", "/foo/-": "", "/foo/00": "", "/foo/+0": "", "/foo/bar": "", "/foo/0/0": "", "/deep": "", "/no": "", "/yes": "", "/missing": "", "/0": "", "//": "",
	} {
		id, err := message.ParseExternalID(pointer)
		require.NoError(t, err, pointer)
		require.Equal(t, pointer, id.String())
		require.Equal(t, want, id.Find(nil, []byte(pointed)), pointer)
	}
}

func TestABodyMayBreakOffBehindAnID(t *testing.T) {
	t.Parallel()
	id, err := message.ParseExternalID("/a/1")
	require.NoError(t, err)
	for body, want := range map[string]string{
		`{"b":{},"a":[0,"x"`: "x", `{"a":[0,"x`: "", `{"a":[0`: "", `{"a"`: "", ``: "", `[]`: "", `"a"`: "", `{"a":[0 "x"]}`: "", "{\"a\":[0,\"\xff\"]}": "\uFFFD",
		strings.Repeat("[", 100_000): "", `{"b":` + strings.Repeat("[", 60_000): "",
	} {
		require.Equal(t, want, id.Find(nil, []byte(body)), "%.40q", body)
	}
}

func TestAnIDMayBeInAHeader(t *testing.T) {
	t.Parallel()
	id, err := message.ParseExternalID("header:x-request-id")
	require.NoError(t, err)
	require.Equal(t, "header:X-Request-Id", id.String())
	require.Equal(t, "7", id.Find(http.Header{"X-Request-Id": {"7", "8"}}, []byte(`{"x-request-id":1}`)))
	require.Empty(t, id.Find(nil, nil))
}

func TestAWrongPlaceForAnIDIsReported(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "JSON Pointer", "messageId": "begins with /", "#/id": "begins with /", "$.id": "begins with /",
		"/a~2b": "~0", "/~": "~0", "header:": "header", "header:a b": "header", "header:a:b": "header",
	} {
		_, err := message.ParseExternalID(text)
		require.ErrorContains(t, err, want, "%q", text)
	}
}
