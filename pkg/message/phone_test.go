package message

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNormalizePhone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"+14155550100":          "+14155550100",
		" +1 (415) 555-01.00 ":  "+14155550100",
		"(+1) 415 555 0100":     "+14155550100",
		"+15555550100":          "+15555550100", // no area code yet
		"+44 (0)20 7946 0958":   "+442079460958",
		"+39 06 12345678":       "+390612345678", // Italy's zero is part of the number
		"+90 555 111 11 11":     "+905551111111",
		"+8613812345678":        "+8613812345678",
		"+800 1234 5678":        "+80012345678", // of no country
		"+5491123456789":        "+5491123456789",
		"+54 11 15 2345 6789":   "+5491123456789", // how Argentina writes its mobiles
		"+1-4-1-5-5-5-5-0-1-00": "+14155550100",
		"\u202a+90\u00a0555\u202f111\u201011\u201211\u202c":                                                                                                 "+905551111111",
		"\u200e\u2068+90\u2013555\u2014111\u201511\u200b11\u2069\u200f":                                                                                     "+905551111111",
		"\u202b\u202d\u202e\u2066\u2067\u200c\u200d+90 555\u2011111 11 11":                                                                                  "+905551111111",
		"+9\u00a0\u00a00\u00a0\u00a05\u00a0\u00a05\u00a0\u00a05\u00a0\u00a01\u00a0\u00a01\u00a0\u00a01\u00a0\u00a01\u00a0\u00a01\u00a0\u00a01\u00a0\u00a01": "+905551111111",
	} {
		number, err := NormalizePhone(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, number, text)
		again, err := NormalizePhone(number)
		require.NoError(t, err, text)
		assert.Equal(t, number, again)
	}
}

func TestNormalizePhoneRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":                "",
		"only a plus":            "+",
		"only separators":        "(-)",
		"the national form":      "(415) 555-0100",
		"00 for +":               "0014155550100",
		"letters":                "+1415555CALL",
		"an extension":           "+14155550100 ext. 5",
		"an extension, short":    "+14155550100x5",
		"a pause":                "+14155550100,5",
		"a second plus":          "+1+4155550100",
		"a plus at the end":      "14155550100+",
		"a URI":                  "tel:+14155550100",
		"other digits":           "+１４１５５５５０１００",
		"a line break":           "+14155550100\n",
		"a country that isn't":   "+99912345678",
		"a country code of zero": "+0415555010",
		"too few digits":         "+1415555",
		"too many digits":        "+141555501001",
		"16 digits":              "+4910000000000000", // a length that Germany has, and E.164 hasn't
		"without the area code":  "+1 555 0100",
		"zeros without an end":   "+49000000",
		"endless":                "+1415555" + strings.Repeat(" ", 100) + "0100",
	} {
		_, err := NormalizePhone(text)
		assert.ErrorIs(t, err, ErrPhoneNumber, name)
	}
}

// TestARefusedNumberNamesTheCharacter counts characters, not bytes, from 1.
func TestARefusedNumberNamesTheCharacter(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"+1415555CALL":          `character 9 is "C"`,
		"+14155550100 ext. 5":   `character 14 is "e"`,
		"+1+4155550100":         `character 3 is "+"`,
		"tel:+14155550100":      `character 1 is "t"`,
		" 0555 111 11 11":       `character 2 is "0", where the + must be`,
		"+90\u200b555\u00adX":   `character 8 is U+00AD, which can't be seen`,
		"\ufeff+905551111111":   `character 1 is U+FEFF, which can't be seen`,
		"+90555\u20601111111":   `character 7 is U+2060, which can't be seen`,
		"+90\u3000555":          `character 4 is U+3000, which can't be seen`,
		"+90\u202f\u2028555":    `character 5 is U+2028, which can't be seen`,
		"+14155550100\n":        `character 13 is U+000A, which can't be seen`,
		"+１４":                   `character 2 is '１' (U+FF11)`,
		"+90 555\u2212111":      `character 8 is '−' (U+2212)`,
		"+90 5\xff5":            `character 6 is the byte 0xFF, which is not UTF-8`,
		"\u00a0\"":              `character 2 is "\""`,
		"+99912345678":          "its country code, or its number of digits, does not exist",
		strings.Repeat("-", 65): "it has more than 64 characters",
	} {
		_, err := NormalizePhone(text)
		require.ErrorIs(t, err, ErrPhoneNumber, text)
		assert.Equal(t, ErrPhoneNumber.Error()+" ("+want+")", err.Error(), "%q", text)
	}
}
