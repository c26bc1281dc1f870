package message

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// StatusCodes is a set of HTTP statuses from 300 to 599: single ones, such as
// 404, and classes, such as 5xx.
type StatusCodes struct {
	ranges []statusRange
}

type statusRange struct {
	first, last int
	text        string
}

// ParseStatusCodes reads single statuses and classes and reports every one
// that is neither. A 2xx is not among them: it means that the receiver has the
// message, and nothing takes that back.
func ParseStatusCodes(list []string) (StatusCodes, error) {
	var s StatusCodes
	var errs []error
	for _, item := range list {
		text := strings.ToLower(strings.TrimSpace(item))
		digits, class := strings.CutSuffix(text, "xx")
		number, err := strconv.Atoi(digits)
		r := statusRange{number, number, text}
		if class {
			r.first, r.last = number*100, number*100+99
		}
		switch {
		case err != nil || len(text) != len("404") || digits[0] < '1' || digits[0] > '9':
			errs = append(errs, fmt.Errorf("%q is neither a status like 404 nor a class like 5xx", item))
		case r.first >= 200 && r.first <= 299:
			errs = append(errs, fmt.Errorf("%s: a 2xx always means that the message is sent", text))
		case r.first < 300 || r.first > 599:
			errs = append(errs, fmt.Errorf("%s is not from 300 to 599", text))
		default:
			s.ranges = append(s.ranges, r)
		}
	}
	return s, errors.Join(errs...)
}

// Contain says whether the status is in the set.
func (s StatusCodes) Contain(status int) bool {
	return slices.ContainsFunc(s.ranges, func(r statusRange) bool { return status >= r.first && status <= r.last })
}

// Overlap lists what of s has a status in common with other, as it was
// written.
func (s StatusCodes) Overlap(other StatusCodes) []string {
	var both []string
	for _, r := range s.ranges {
		if slices.ContainsFunc(other.ranges, func(o statusRange) bool { return r.first <= o.last && o.first <= r.last }) {
			both = append(both, r.text)
		}
	}
	return both
}

// Strings lists the set as ParseStatusCodes reads it.
func (s StatusCodes) Strings() []string {
	list := make([]string, len(s.ranges))
	for i, r := range s.ranges {
		list[i] = r.text
	}
	return list
}
