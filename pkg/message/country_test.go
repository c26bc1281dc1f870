package message

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestANumberOfACountryIsBroughtIntoInternationalForm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ country, text, want string }{
		{"TR", "905551111111", "+905551111111"}, // its + is lost
		{"TR", "05551111111", "+905551111111"},
		{"tr", "0 (555) 111-11.11", "+905551111111"},
		{"90", "5551111111", "+905551111111"},
		{"+90", " 0555\u00a0111 11 11 ", "+905551111111"},
		{"TR", "00905551111111", "+905551111111"}, // with the prefix that one dials abroad
		{"TR", "+14155550100", "+14155550100"},
		{"TR", "anything with a + stays", ""},
		{"US", "(415) 555-0100", "+14155550100"},
		{"1", "14155550100", "+14155550100"},
		{"DE", "0151/12345678", "+4915112345678"},
		{"IT", "06 698 12345", "+390669812345"}, // where the 0 belongs to the number
		{"CN", "15012345678", "+8615012345678"}, // and not +1 501 234 5678
		{"TR", "123", ""},
		{"TR", "491511234567", ""}, // another country's
		{"TR", "9.05555E+11", ""},
		{"TR", "0555CALLNOW", ""},
		{"TR", "", ""},
	} {
		country, err := ParseCountry(tt.country)
		require.NoError(t, err)
		got, err := country.International(tt.text)
		if tt.want == "" {
			require.Error(t, err, "%s %s: %s", tt.country, tt.text, got)
			continue
		}
		require.NoError(t, err, tt.text)
		require.Equal(t, tt.want, got, tt.text)
	}
	for _, country := range []string{"", "XX", "Turkey", "999", "+", "0"} {
		_, err := ParseCountry(country)
		require.ErrorContains(t, err, "is no country such as TR", country)
	}
}

// A number that is valid with the calling code before it, and valid where it
// begins with that code: to guess would be to write to a stranger.
func TestANumberThatMayBeTwoIsRefused(t *testing.T) {
	t.Parallel()
	country, err := ParseCountry("DE")
	require.NoError(t, err)
	_, err = country.International("49337777")
	require.EqualError(t, err, "may be +4949337777 or +49337777: write it with its +")
	number, err := country.International("049337777")
	require.NoError(t, err, "its 0 says which")
	require.Equal(t, "+4949337777", number)
}
