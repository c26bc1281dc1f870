package request

import (
	"maps"
	"slices"
	"strconv"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Erasure is a request to erase a recipient.
type Erasure struct {
	To     string // in the form in which it is stored
	DryRun bool
}

// ParseErasure parses the parameters of an erasure.
func ParseErasure(q Query, recipients Recipients) (Erasure, error) {
	p := filterParser{recipients: recipients}
	var erasure Erasure
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case name != "to" && name != "dryRun":
			p.invalid(name, message.CodeUnknownParameter, "is not a parameter of this request")
		case len(q[name]) > 1:
			p.invalid(name, message.CodeDuplicateField, "must be given once")
		case name == "to":
			erasure.To = p.parseText(name, q[name][0])
		default:
			var err error
			if erasure.DryRun, err = strconv.ParseBool(q[name][0]); err != nil {
				p.invalid(name, message.CodeInvalidValue, "must be true or false")
			}
		}
	}
	switch {
	case len(q["to"]) == 0:
		p.invalid("to", message.CodeRequired, "must be given: whose messages to erase")
	case len(p.errs) == 0 && recipients.phones:
		if _, err := message.NormalizePhone(erasure.To); err != nil {
			p.invalid("to", message.CodeInvalidPhoneNumber, err.Error())
		}
	}
	if len(p.errs) > 0 {
		return Erasure{}, invalidParameters(p.errs)
	}
	return erasure, nil
}
