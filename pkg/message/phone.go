package message

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
)

// ErrPhoneNumber is what every error of NormalizePhone wraps.
var ErrPhoneNumber = errors.New(`must be a phone number in international form, such as "+14155550100"`)

const (
	// maxDigits is E.164's own limit; some numbering plans reach beyond it.
	maxDigits = 15
	// maxDialled is the longest input that can still be a number, in
	// characters: the digits, a trunk prefix such as the (0) in +44 (0)20, and
	// separators.
	maxDialled = 64
)

// NormalizePhone brings a phone number into E.164 form. It wants the
// international form with its +, and stands spaces, dashes, dots, parentheses
// and the invisible characters that are copied along with a number. The number
// must have a country's calling code and a length that exists there; whether
// it is in use nobody can tell, and new ranges appear before a library knows
// them. Everything else, letters and extensions included, is an error that
// wraps ErrPhoneNumber and says which character is in the way.
func NormalizePhone(text string) (string, error) {
	var scratch [maxDialled]byte
	dialled := scratch[:0]
	position := 0
	for at, c := range text {
		position++
		switch {
		case position > maxDialled:
			return "", fmt.Errorf("%w (it has more than %d characters)", ErrPhoneNumber, maxDialled)
		case isSeparator(c):
		case c >= '0' && c <= '9' && len(dialled) > 0, c == '+' && len(dialled) == 0:
			dialled = append(dialled, byte(c))
		case c >= '0' && c <= '9':
			return "", fmt.Errorf("%w (character %d is %s, where the + must be)", ErrPhoneNumber, position, named(text[at:]))
		default:
			return "", fmt.Errorf("%w (character %d is %s)", ErrPhoneNumber, position, named(text[at:]))
		}
	}
	number, ok := toE164(string(dialled))
	if ok && number != string(dialled) {
		// What was stripped of a trunk prefix must not lose one more when it
		// is read again: the stored form is what lists are searched for.
		var again string
		again, ok = toE164(number)
		ok = ok && again == number
	}
	if !ok {
		return "", fmt.Errorf("%w (its country code, or its number of digits, does not exist)", ErrPhoneNumber)
	}
	return number, nil
}

// isSeparator reports whether a character of a number means nothing: what
// people put between digits, and what comes along when they copy a number from
// a web page, a document or an address book.
func isSeparator(c rune) bool {
	switch {
	case c == ' ', c == '-', c == '.', c == '(', c == ')':
	case c == '\u00a0', c == '\u202f': // spaces that don't break
	case c >= '\u200b' && c <= '\u200f': // of no width, and marks of direction
	case c >= '\u202a' && c <= '\u202e', c >= '\u2066' && c <= '\u2069': // beginnings and ends of a direction
	case c >= '\u2010' && c <= '\u2015': // hyphens and dashes
	default:
		return false
	}
	return true
}

// named writes the first character of a text so that everybody sees what it
// is: with its code point unless it is ASCII, and alone if it can't be seen.
func named(text string) string {
	c, size := utf8.DecodeRuneInString(text)
	switch {
	case c == utf8.RuneError && size == 1:
		return fmt.Sprintf("the byte 0x%02X, which is not UTF-8", text[0])
	case !unicode.IsPrint(c):
		return fmt.Sprintf("U+%04X, which can't be seen", c)
	case c > unicode.MaxASCII:
		return fmt.Sprintf("%q (U+%04[1]X)", c)
	}
	return strconv.Quote(string(c))
}

func toE164(dialled string) (number string, ok bool) {
	if isE164(dialled) {
		return dialled, true
	}
	var parsed phonenumbers.PhoneNumber
	if phonenumbers.ParseToNumber(dialled, "ZZ", &parsed) != nil {
		return "", false
	}
	// A number that can be dialled only from near by is none for a webhook
	// somewhere.
	if phonenumbers.IsPossibleNumberWithReason(&parsed) != phonenumbers.IS_POSSIBLE {
		return "", false
	}
	number = phonenumbers.Format(&parsed, phonenumbers.E164)
	return number, len(number) <= len("+")+maxDigits
}

// isE164 reports, at a tenth of the cost of parsing, whether parsing would
// give back dialled as it is. It is false for what it can't tell so cheaply.
func isE164(dialled string) bool {
	const longestCode = 3
	if len(dialled) > len("+")+maxDigits {
		return false
	}
	codes := trunkPrefixes()
	for size := 1; size <= longestCode && len(dialled) > size+2; size++ {
		code, _ := strconv.Atoi(dialled[1 : 1+size])
		trunk, known := codes[code]
		if !known {
			continue // no calling code is the beginning of another
		}
		national := dialled[1+size:]
		if national[0] == '0' || trunk != nil && trunk.MatchString(national) {
			return false
		}
		significant, err := strconv.ParseUint(national, 10, 64)
		country := int32(code)
		number := phonenumbers.PhoneNumber{CountryCode: &country, NationalNumber: &significant}
		return err == nil && phonenumbers.IsPossibleNumberWithReason(&number) == phonenumbers.IS_POSSIBLE
	}
	return false
}

// trunkPrefixes returns, for each calling code that there is, how the digits
// begin that may have to be stripped of a number behind it; nil for none.
var trunkPrefixes = sync.OnceValue(func() map[int]*regexp.Regexp {
	prefixes := map[int]*regexp.Regexp{}
	metadata, err := phonenumbers.MetadataCollection()
	if err != nil {
		return prefixes // then every number is parsed
	}
	for _, territory := range metadata.GetMetadata() {
		code := int(territory.GetCountryCode())
		if territory.GetId() != phonenumbers.GetRegionCodeForCountryCode(code) {
			continue // it has the plan of another
		}
		prefixes[code] = nil
		if prefix := territory.GetNationalPrefixForParsing(); prefix != "" {
			prefixes[code] = regexp.MustCompile("^(?:" + prefix + ")")
		}
	}
	return prefixes
})
