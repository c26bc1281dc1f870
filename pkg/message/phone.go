package message

import (
	"errors"
	"regexp"
	"strconv"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// ErrPhoneNumber is returned by NormalizePhone for what can't be dialled.
var ErrPhoneNumber = errors.New(`must be a phone number in international form, such as "+14155550100"`)

const (
	// maxDigits is E.164's own limit; some numbering plans reach beyond it.
	maxDigits = 15
	// maxDialled is the longest input that can still be a number: the digits,
	// a trunk prefix such as the (0) in +44 (0)20, and separators.
	maxDialled = 64
)

// NormalizePhone brings a phone number into E.164 form. It wants the
// international form with its +, and stands spaces, dashes, dots and
// parentheses. The number must have a country's calling code and a length
// that exists there; whether it is in use nobody can tell, and new ranges
// appear before a library knows them. It returns ErrPhoneNumber for
// everything else, letters and extensions included.
func NormalizePhone(text string) (string, error) {
	if len(text) > maxDialled {
		return "", ErrPhoneNumber
	}
	var scratch [maxDialled]byte
	dialled := scratch[:0]
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == ' ' || c == '-' || c == '.' || c == '(' || c == ')':
		case c >= '0' && c <= '9' && len(dialled) > 0, c == '+' && len(dialled) == 0:
			dialled = append(dialled, c)
		default:
			return "", ErrPhoneNumber
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
		return "", ErrPhoneNumber
	}
	return number, nil
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
