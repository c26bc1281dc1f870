package settings_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/settings"
)

func TestASizeIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]settings.Size{
		"0": 0, "1048576": 1 << 20, "7B": 7, "64KiB": 64 << 10, "512MiB": 512 << 20, "5GB": 5e9, "1TiB": 1 << 40,
		"9223372036854775807": 1<<63 - 1,
	} {
		var size settings.Size
		require.NoError(t, size.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, size, text)
		var again settings.Size
		require.NoError(t, again.UnmarshalText([]byte(size.String())))
		require.Equal(t, size, again)
	}
	require.Equal(t, "512MiB", settings.Size(512<<20).String())
	require.Equal(t, "5000000000", settings.Size(5e9).String())
	var spaced settings.Size
	require.NoError(t, spaced.UnmarshalText([]byte(" 2 GiB ")))
	require.Equal(t, settings.Size(2<<30), spaced)
	for _, text := range []string{"", "-1", "1.5GiB", "512mib", "5 G", "x", "9223372036854775808", "9000000TiB"} {
		var size settings.Size
		require.Error(t, size.UnmarshalText([]byte(text)), text)
	}
}
