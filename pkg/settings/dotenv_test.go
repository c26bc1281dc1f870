package settings

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDotEnvValuesAreReadUnchangedOrRejected(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`A=`:                        ``,
		`A=''`:                      ``,
		`A=""`:                      ``,
		`A=abc`:                     `abc`,
		"A=abc\n\n# more\n":         `abc`,
		`export A=abc`:              `abc`,
		"\texport  A=abc":           `abc`,
		"A = abc \t":                `abc`,
		`A=pa$word`:                 `pa$word`,
		`A=$HOME`:                   `$HOME`,
		`A=pa$$w0rd$`:               `pa$$w0rd$`,
		`A=$(id)`:                   `$(id)`,
		`A=pa#word`:                 `pa#word`,
		`A=a=b==`:                   `a=b==`,
		`A=a\nb\$c\`:                `a\nb\$c\`,
		`A=C:\dir\new`:              `C:\dir\new`,
		`A=it's "here"`:             `it's "here"`,
		`A=a  b`:                    `a  b`,
		"A=`x`":                     "`x`",
		`A=ümlaut şğı`:              `ümlaut şğı`,
		`A='pa$w #r\n"d'`:           `pa$w #r\n"d`,
		`A='${NAME}'`:               `${NAME}`,
		`A=' a '`:                   ` a `,
		`A='a' # a comment`:         `a`,
		"A='a\nb'":                  "a\nb",
		`A="pa$w #r'd"`:             `pa$w #r'd`,
		`A="a\nb\r\t\"\\\$"`:        "a\nb\r\t\"\\$",
		`A="\${NAME}"`:              `${NAME}`,
		`A="\\n"`:                   `\n`,
		`A="" # a comment`:          ``,
		"A=\"a\nb\"\r\n":            "a\nb",
		`A=""quoted""`:              "\x00line 1 goes on after the quote that closes the value",
		`A='a'#b`:                   "\x00line 1 goes on after the quote that closes the value",
		`A='a' b`:                   "\x00line 1 goes on after the quote that closes the value",
		`A=a #b`:                    "\x00line 1 has a # that may begin a comment",
		"A=a\t#b":                   "\x00line 1 has a # that may begin a comment",
		`A= # b`:                    "\x00line 1 has a # that may begin a comment",
		`A=#b`:                      "\x00line 1 has a # that may begin a comment",
		`A=${NAME}`:                 "\x00line 1 refers to a variable",
		`A="x${NAME}"`:              "\x00line 1 refers to a variable",
		`A="\q"`:                    "\x00line 1 has a \\ in double quotes",
		"B=1\nA=\"b\nC=3":           "\x00line 2 begins a value with a quote that is not closed",
		"A='b\nC=3\n":               "\x00line 1 begins a value with a quote that is not closed",
		"A=1\nB=2\nA=3":             "\x00line 3 sets A again; line 1 does",
		`A: b`:                      "\x00line 1 is not of the form NAME=value",
		`A B=c`:                     "\x00line 1 is not of the form NAME=value",
		`1A=c`:                      "\x00line 1 is not of the form NAME=value",
		`=c`:                        "\x00line 1 is not of the form NAME=value",
		"B='a\nb'\nnothing":         "\x00line 3 is not of the form NAME=value",
		"A=a\rb":                    "\x00line 1 holds the control character U+000D at byte 4",
		"B=1\nA=a\x00b":             "\x00line 2 holds the control character U+0000 at byte 4",
		"A=\xfe":                    "\x00line 1 is not UTF-8",
		"\xff\xfeA\x00=\x00b\x00":   "\x00is UTF-16: save it as UTF-8",
		`A=" a\ `:                   "\x00line 1 has a \\ in double quotes",
		`A="a\`:                     "\x00line 1 begins a value with a quote that is not closed",
		"B=\"a\n\nb\" # c\nA=1\nB=": "\x00line 5 sets B again; line 1 does",
	} {
		values, err := parseDotEnv(text)
		if want != "" && want[0] == 0 {
			require.ErrorContains(t, err, want[1:], "%q", text)
			continue
		}
		require.NoError(t, err, "%q", text)
		assert.Equal(t, map[string]string{"A": want}, values, "%q", text)
	}
}
