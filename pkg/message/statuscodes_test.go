package message_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestStatusesAreSingleOnesAndClasses(t *testing.T) {
	t.Parallel()
	codes, err := message.ParseStatusCodes([]string{" 404", "5XX "})
	require.NoError(t, err)
	for status, want := range map[int]bool{404: true, 403: false, 500: true, 599: true, 499: false, 600: false, 0: false} {
		require.Equal(t, want, codes.Contain(status), "%d", status)
	}
	require.Equal(t, []string{"404", "5xx"}, codes.Strings())
	again, err := message.ParseStatusCodes(codes.Strings())
	require.NoError(t, err)
	require.Equal(t, codes, again)
	require.False(t, message.StatusCodes{}.Contain(500))
}

func TestEveryWrongStatusIsReported(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "neither", "x": "neither", "4040": "neither", "4x": "neither", "+44": "neither", "-5xx": "neither", "040": "neither", "4 4": "neither",
		"200": "2xx", "2xx": "2xx", "100": "from 300", "1xx": "from 300", "600": "from 300", "6xx": "from 300",
	} {
		_, err := message.ParseStatusCodes([]string{"500", text})
		require.ErrorContains(t, err, want, "%q", text)
	}
	_, err := message.ParseStatusCodes([]string{"x", "200"})
	require.ErrorContains(t, err, `"x"`)
	require.ErrorContains(t, err, "2xx")
}

func TestTwoSetsThatOverlapAreSeen(t *testing.T) {
	t.Parallel()
	parse := func(list ...string) message.StatusCodes {
		codes, err := message.ParseStatusCodes(list)
		require.NoError(t, err)
		return codes
	}
	require.Equal(t, []string{"5xx", "404"}, parse("5xx", "404", "409").Overlap(parse("503", "404", "410")))
	require.Equal(t, []string{"503"}, parse("503").Overlap(parse("5xx")))
	require.Empty(t, parse("4xx").Overlap(parse("5xx")))
}
