package settings

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type secretConfig struct {
	Name   string `env:"NAME"`
	Number int    `env:"NUMBER" envDefault:"7"`
	Secret string `env:"SECRET" secret:"true"`
	Lines  string `env:"LINES" lines:"true"`
}

// docker's --env-file keeps quotes, echo adds a line break, Windows adds a carriage
// return. A value with such characters is rejected, not used and not repaired.
func TestValuesAreReadUnchangedOrRejected(t *testing.T) {
	t.Parallel()
	for _, value := range []string{`pa$$w"or'd#\n`, `"begins`, `ends'`, `"mixed'`, `"`, "a b", "ü"} {
		cfg, err := Parse[secretConfig](Environment{"SECRET": value, "NAME": value})
		require.NoError(t, err, value)
		assert.Equal(t, secretConfig{Name: value, Number: 7, Secret: value}, cfg)
	}
	const quotes = "must not be in quotes: they are part of the value here (docker's --env-file keeps them), so leave them out"
	for value, want := range map[string]string{
		`"geheim"`: quotes, `'geheim'`: quotes, `""`: quotes,
		" geheim":       "must not begin or end with a blank, a line break or an invisible character (U+0020): leave it out",
		"geheim\r":      "(U+000D)",
		"geheim\n":      "(U+000A)",
		"geheim\u00a0":  "(U+00A0)",
		"\u200bgeheim":  "(U+200B)",
		"\ufeffgeheim ": "(U+FEFF)",
	} {
		_, err := Parse[secretConfig](Environment{"SECRET": value})
		require.ErrorContains(t, err, "SECRET=(hidden): must not b", "%q", value)
		require.ErrorContains(t, err, want, "%q", value)
		require.NotContains(t, err.Error(), "geheim")
	}
	_, err := Parse[secretConfig](Environment{"NAME": `"x"`, "NUMBER": `'5'`, "LINES": `"A: b"`})
	require.EqualError(t, err, lines(`NAME="\"x\"": `+quotes, `NUMBER="'5'": `+quotes, `LINES="\"A: b\"": `+quotes))
	cfg, err := Parse[secretConfig](Environment{"LINES": "A: b\nC: d\n"})
	require.NoError(t, err)
	require.Equal(t, "A: b\nC: d\n", cfg.Lines)
}

// A .env that can't be read may belong to another user or program. It matters only
// if a setting is missing.
func TestAnUnreadableFileMattersOnlyIfItIsNeeded(t *testing.T) {
	type config struct {
		Must string `env:"MUST,required"`
	}
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir(".env", 0o700)) // even root can't read a directory as a file
	t.Setenv("MUST", "x")
	cfg, warnings, err := Load[config]()
	require.NoError(t, err)
	require.Equal(t, "x", cfg.Must)
	require.Equal(t, []string{".env can't be read: is a directory; what it sets has no effect"}, warnings)

	require.NoError(t, os.Unsetenv("MUST"))
	_, _, err = Load[config]()
	require.EqualError(t, err, lines(".env: can't be read (is a directory); what is missing may be set there", "MUST: must be set"))
	require.Equal(t, 2, ExitCode(err))
}
