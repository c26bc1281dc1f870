package message

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// Country is whose numbers are written without their calling code.
type Country struct{ region string }

// ParseCountry reads a region of ISO 3166 such as TR, or a calling code such as
// 90 or +90, which stands for the largest country that has it.
func ParseCountry(text string) (Country, error) {
	region := strings.ToUpper(strings.TrimSpace(text))
	if code, err := strconv.Atoi(strings.TrimPrefix(region, "+")); err == nil {
		region = phonenumbers.GetRegionCodeForCountryCode(code)
	}
	if !phonenumbers.GetSupportedRegions()[region] {
		return Country{}, fmt.Errorf("%q is no country such as TR, and no calling code such as 90", text)
	}
	return Country{region}, nil
}

// International brings a number into E.164 form that is written as in the
// country, with or without its trunk prefix, or with the country's calling code
// and no + before it. A number with a + stays as it is. The error is the end of a
// sentence that begins with the number.
func (c Country) International(text string) (string, error) {
	dialled := strings.TrimSpace(text)
	if strings.HasPrefix(dialled, "+") {
		return text, nil
	}
	isOther := func(r rune) bool { return (r < '0' || r > '9') && !strings.ContainsRune(" -./()\u00a0", r) }
	if strings.ContainsFunc(dialled, isOther) {
		return "", fmt.Errorf("is no phone number of %s", c.region)
	}
	national, valid := parseIn(dialled, c.region)
	if !valid {
		return "", fmt.Errorf("is no phone number of %s", c.region)
	}
	code := strconv.Itoa(phonenumbers.GetCountryCodeForRegion(c.region))
	if strings.HasPrefix(digits(dialled), code) {
		if other, valid := parseIn("+"+dialled, c.region); valid && other != national {
			return "", fmt.Errorf("may be %s or %s: write it with its +", national, other)
		}
	}
	return national, nil
}

// parseIn reads a number as it is dialled in a region; valid means that it is
// in a range that is in use.
func parseIn(dialled, region string) (number string, valid bool) {
	parsed, err := phonenumbers.Parse(dialled, region)
	if err != nil || !phonenumbers.IsValidNumber(parsed) {
		return "", false
	}
	return phonenumbers.Format(parsed, phonenumbers.E164), true
}

func digits(text string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text)
}
