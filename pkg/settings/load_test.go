package settings

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/redact"
)

// keyList parses itself and reports its own errors.
type keyList []string

func (k *keyList) UnmarshalText(text []byte) error {
	*k = strings.Split(string(text), ",")
	for i, key := range *k {
		if key == "" {
			return ValidationError{Problem: fmt.Sprintf("key %d is empty", i+1)}
		}
	}
	return nil
}

// failingText fails to parse and repeats its value in the error.
type failingText string

func (failingText) UnmarshalText(text []byte) error { return fmt.Errorf("not %s", text) }

type stopping struct {
	Within time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"75s"`
}

type sampleConfig struct {
	Postgres
	NATS    NATS
	Redis   Redis
	Log     Log
	Stop    stopping
	Timeout time.Duration `env:"TIMEOUT" envDefault:"30s" help:"a timeout"`
	Factor  float64       `env:"FACTOR" envDefault:"10"`
	Fast    bool          `env:"FAST"`
	Size    *int          `env:"SIZE"`
	List    []int         `env:"LIST"`
	Keys    keyList       `env:"KEYS" secret:"true" help:"keys, separated by commas"`
	Secret  failingText   `env:"SECRET" secret:"true" help:"something long"`
	Odd     failingText   `env:"ODD"`
	Must    string        `env:"MUST,required"`
	Sub     struct {
		Name string `env:"NAME" envDefault:"n"`
	} `envPrefix:"SUB_"`
	ignored string `env:"IGNORED"` //nolint:unused // shows that unexported fields are passed over
}

func (c *sampleConfig) Validate() error {
	var errs []error
	if c.Timeout > 40*time.Second {
		errs = append(errs, Invalid("TIMEOUT", c.Timeout, "must be at most 40s"))
	}
	if c.Stop.Within < c.Timeout+10*time.Second {
		errs = append(errs, Invalid("SHUTDOWN_TIMEOUT", c.Stop.Within, "must exceed TIMEOUT by 10s"))
	}
	if c.Fast && c.Factor < 1 {
		errs = append(errs, Invalid("FAST", c.Fast, "needs a FACTOR of at least 1"))
	}
	if strings.Contains(strings.Join(c.Keys, ""), "weak") {
		errs = append(errs, Invalid("KEYS", c.Keys, "must be strong"))
	}
	return errors.Join(errs...)
}

func lines(text ...string) string { return strings.Join(text, "\n") }

func TestParse(t *testing.T) {
	t.Parallel()
	cfg, err := Parse[sampleConfig](Environment{
		"DATABASE_URL": "postgres://u:p@h/n", "TIMEOUT": "0", "FAST": "true", "SIZE": "7", "LIST": "1,2",
		"KEYS": "a,b", "MUST": "x", "SUB_NAME": "m", "LOG_LEVEL": "", "NATS_REPLICAS": "3",
	})
	require.NoError(t, err)
	seven := 7
	assert.Equal(t, sampleConfig{
		Postgres: Postgres{DatabaseURL: "postgres://u:p@h/n", Port: 5432, Name: "dispatch"},
		NATS:     NATS{NATSAccess: NATSAccess{URL: "nats://127.0.0.1:4222"}, Prefix: "dispatch", Replicas: 3},
		Redis:    Redis{Port: 6379},
		Log:      Log{Level: "info"},
		Stop:     stopping{Within: 75 * time.Second},
		Factor:   10, Fast: true, Size: &seven, List: []int{1, 2}, Keys: keyList{"a", "b"}, Must: "x",
		Sub: struct {
			Name string `env:"NAME" envDefault:"n"`
		}{"m"},
	}, cfg)
}

func TestParseReportsAllErrorsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Parse[sampleConfig](Environment{
		"DB_PORT": "99999", "NATS_REPLICAS": "two", "LOG_LEVEL": "loud", "TIMEOUT": "41", "FACTOR": "x",
		"FAST": "maybe", "SIZE": "1.5", "LIST": "1,b", "KEYS": "geheim,", "SECRET": "geheim", "ODD": "odd",
	})
	assert.EqualError(t, err, lines(
		`DB_PORT="99999": must be a whole number from 0 to 65535`,
		`NATS_REPLICAS="two": must be a whole number`,
		`TIMEOUT="41": must be a duration such as 500ms, 30s, 2m or 1h30m, or 0`,
		`FACTOR="x": must be a number`,
		`FAST="maybe": must be true or false`,
		`SIZE="1.5": must be a whole number`,
		`LIST="1,b": must be a list, separated by commas, each a whole number`,
		`KEYS=(hidden): key 2 is empty`,
		`SECRET=(hidden): can't be read: something long`,
		`ODD="odd": not odd`,
		`MUST: must be set`,
		`DATABASE_URL: must be set, or DB_HOST, DB_USER, DB_PASSWORD and DB_NAME`,
		`LOG_LEVEL="loud": must be debug, info, warn or error`,
	))
	assert.Equal(t, 2, ExitCode(fmt.Errorf("start: %w", err)))
	assert.NotContains(t, fmt.Sprintf("%+v", err), "geheim")
}

func TestParseChecksFieldsAgainstEachOther(t *testing.T) {
	t.Parallel()
	base := func(more Environment) Environment {
		more["DATABASE_URL"], more["MUST"] = "postgres://h/n", "x"
		return more
	}
	tests := map[string]struct {
		in   Environment
		want string
	}{
		"against each other":                         {base(Environment{"TIMEOUT": "36s", "SHUTDOWN_TIMEOUT": "45s"}), `SHUTDOWN_TIMEOUT="45s": must exceed TIMEOUT by 10s`},
		"no follow-up errors of an unparsable value": {base(Environment{"FAST": "1", "FACTOR": "x"}), `FACTOR="x": must be a number`},
		"an unparsable value is reported once":       {base(Environment{"TIMEOUT": "36s", "SHUTDOWN_TIMEOUT": "4O s"}), `SHUTDOWN_TIMEOUT="4O s": must be a duration such as 500ms, 30s, 2m or 1h30m, or 0`},
		"a secret":                                   {base(Environment{"KEYS": "weak"}), `KEYS=(hidden): must be strong`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse[sampleConfig](tt.in)
			assert.EqualError(t, err, tt.want)
		})
	}
}

// repeatingConfig validates its block itself, although the package Validate does it
// too.
type repeatingConfig struct{ Log Log }

func (l repeatingConfig) Validate() error {
	return errors.Join(l.Log.Validate(), errors.New("and see postgres://u:geheim@h"))
}

func TestValidate(t *testing.T) {
	t.Parallel()
	want := lines(`LOG_LEVEL="x": must be debug, info, warn or error`, `and see postgres://***@h`)
	assert.EqualError(t, Validate(repeatingConfig{Log: Log{Level: "x"}}), want, "each error is reported once")
	assert.EqualError(t, Validate(&repeatingConfig{Log: Log{Level: "x"}}), want)
	err := Validate(Log{Level: "info"})
	assert.True(t, err == nil, "a plain nil") //nolint:testifylint // NoError would take a nil *ValidationErrors too
	_, err = Parse[Log](nil)
	assert.NoError(t, err)
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	assert.Equal(t, 0, ExitCode(nil))
	assert.Equal(t, 1, ExitCode(errors.New("x")))
	assert.Equal(t, 2, ExitCode(errors.Join(errors.New("x"), &ValidationErrors{})))
}

func TestReadEnvironment(t *testing.T) {
	t.Parallel()
	file := func(t *testing.T, text string) string {
		name := filepath.Join(t.TempDir(), ".env")
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	t.Run("the real environment wins, also with nothing", func(t *testing.T) {
		t.Parallel()
		env, err := ReadEnvironment([]string{"A=real", "B=", "D=x=y"}, file(t, "# c\nA=file\nB=file\nexport C=\"fi le\"\n"))
		require.NoError(t, err)
		assert.Equal(t, Environment{"A": "real", "B": "", "C": "fi le", "D": "x=y"}, env)
	})
	t.Run("no file", func(t *testing.T) {
		t.Parallel()
		env, err := ReadEnvironment([]string{"A=1"}, filepath.Join(t.TempDir(), ".env"))
		require.NoError(t, err)
		assert.Equal(t, Environment{"A": "1"}, env)
	})
	t.Run("the number of a broken line is reported, its text is not", func(t *testing.T) {
		t.Parallel()
		_, err := ReadEnvironment(nil, file(t, "A=1\nB=\"x\ny\"\n\nDB PASSWORD geheim\nC=geheim\n"))
		require.ErrorContains(t, err, ".env: line 5 is not of the form NAME=value")
		assert.NotContains(t, err.Error(), "geheim")
		assert.Equal(t, 2, ExitCode(err))
	})
	t.Run("other broken lines", func(t *testing.T) {
		t.Parallel()
		for text, want := range map[string]string{
			"DB PASSWORD": "line 1 ", "A=1\nDB": "line 2 ", "A=1\n=2\nB=3": "line 2 ", "A=1\nB=\"2\nC=3": "line 2 ",
		} {
			_, err := ReadEnvironment(nil, file(t, text))
			assert.ErrorContains(t, err, want, text)
		}
	})
	t.Run("written on Windows", func(t *testing.T) {
		t.Parallel()
		env, err := ReadEnvironment(nil, file(t, "\ufeffA=1\r\nB=2"))
		require.NoError(t, err)
		assert.Equal(t, Environment{"A": "1", "B": "2"}, env)
	})
	t.Run("no file that can be read", func(t *testing.T) {
		t.Parallel()
		env, err := ReadEnvironment([]string{"A=1"}, t.TempDir())
		var unread *UnreadableError
		require.ErrorAs(t, err, &unread)
		assert.Equal(t, Environment{"A": "1"}, env)
	})
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain text, me@example.com":                        "plain text, me@example.com",
		"dial nats://u:p@h:4222: refused":                   "dial nats://***@h:4222: refused",
		"postgres://u:p/a@s@h/n and x":                      "postgres://***@h/n and x",
		"host=h password=geheim user=u":                     "host=h password=*** user=u",
		"postgres://h/n?password=geheim&x=1":                "postgres://h/n?password=***&x=1",
		"password='ge heim' x":                              "password=*** x",
		"redis://h:6379":                                    "redis://h:6379",
		`parse "postgres://u:p@h/%zz": invalid URL escape…`: `parse "postgres://***@h/%zz": invalid URL escape…`,
	} {
		assert.Equal(t, want, redact.Text(in))
	}
	assert.Equal(t, "a b…", redact.OneLine("a\n\tbäc", 4), "a letter is not cut in half")
}
