package input

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// PhoneNumbers says how phone numbers without a + are read.
type PhoneNumbers struct {
	Country string
	plus    bool
	of      message.Country // set by Check
}

// Add adds the flags.
func (n *PhoneNumbers) Add(f *pflag.FlagSet) {
	f.StringVar(&n.Country, "country", "", "read numbers without a + as those of this country: TR, or its calling code 90")
	f.BoolVar(&n.plus, "plus", false, "put a + before numbers that have lost theirs; they begin with a calling code")
}

// Check validates the flags. Call it before Read.
func (n *PhoneNumbers) Check() (err error) {
	switch {
	case n.Country == "":
		return nil
	case n.plus:
		return exit.Usage(errors.New("--country and --plus don't go together: --country reads numbers that have lost their + too"))
	}
	if n.of, err = message.ParseCountry(n.Country); err != nil {
		return exit.Usage(fmt.Errorf("--country: %w", err))
	}
	return nil
}

// scientific matches a number that a spreadsheet did not take for text. It loses
// the digits that it does not show when it saves the sheet.
var scientific = regexp.MustCompile(`^\s*[+-]?[0-9]+([.,][0-9]+)?[eE]\+[0-9]+\s*$`)

// RoundedAdvice is the error of a number that has lost digits.
const RoundedAdvice = "is a number that a spreadsheet has rounded: its last digits are lost. Give the column the format Text, put the numbers in again, and save it"

// Read converts a recipient to international form, if the flags say how. The API
// validates the result: only it knows whether recipients are phone numbers at all.
// The text of an error continues a sentence that begins with the recipient.
func (n *PhoneNumbers) Read(to string) (string, error) {
	if scientific.MatchString(to) {
		return "", errors.New(RoundedAdvice)
	}
	bare := strings.TrimSpace(to)
	switch {
	case bare == "":
		return to, nil
	case n.Country != "":
		return n.of.International(to)
	case n.plus && bare[0] == '0':
		return "", errors.New("begins with 0, and no calling code does: --country reads numbers without one")
	case n.plus && isDigit(bare[0]):
		return "+" + bare, nil
	}
	return to, nil
}

// readJSON converts the recipient in a JSON object and keeps every other byte. The
// API reports what is not an object.
func (n *PhoneNumbers) readJSON(body []byte) ([]byte, error) {
	if n.Country == "" && !n.plus {
		return body, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return body, nil //nolint:nilerr // the API reports the error
	}
	result, done := []byte(nil), int64(0)
	for decoder.More() {
		name, err := decoder.Token()
		var value json.RawMessage
		if err == nil {
			err = decoder.Decode(&value)
		}
		if err != nil {
			return body, nil //nolint:nilerr // as above
		}
		var to string
		if name != "to" && name != "phoneNumber" || json.Unmarshal(value, &to) != nil {
			continue
		}
		number, err := n.Read(to)
		if err != nil {
			return nil, fmt.Errorf("%s: %q %w", name, to, err)
		}
		end := decoder.InputOffset()
		result = append(append(result, body[done:end-int64(len(value))]...), Quoted(number)...)
		done = end
	}
	return append(result, body[done:]...), nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// WithoutPlus reports whether a recipient looks like a number without its +.
func WithoutPlus(to string) bool {
	bare := strings.TrimSpace(to)
	return len(bare) > 6 && (isDigit(bare[0]) || bare[0] == '(')
}

// PlusAdvice says how numbers without a + are read.
const PlusAdvice = "a number without a + is read with --country TR (national, or its + lost) or --plus (its + lost)"
