package request

import (
	"maps"
	"slices"
	"strconv"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Erasure is a request to erase a recipient.
type Erasure struct {
	To     string // as it is stored
	DryRun bool
}

// ReadErasure makes an erasure of the parameters; its error names every mistake.
func ReadErasure(q Query, recipients Recipients) (Erasure, error) {
	r := filterReader{recipients: recipients}
	var request Erasure
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case name != "to" && name != "dryRun":
			r.bad(name, message.CodeUnknownParameter, "is not a parameter of this request")
		case len(q[name]) > 1:
			r.bad(name, message.CodeDuplicateField, "must be given once")
		case name == "to":
			request.To = r.readText(name, q[name][0])
		default:
			var err error
			if request.DryRun, err = strconv.ParseBool(q[name][0]); err != nil {
				r.bad(name, message.CodeInvalidValue, "must be true or false")
			}
		}
	}
	switch {
	case len(q["to"]) == 0:
		r.bad("to", message.CodeRequired, "must be given: whose messages to erase")
	case len(r.errs) == 0 && recipients.phones:
		if _, err := message.NormalizePhone(request.To); err != nil {
			r.bad("to", message.CodeInvalidPhoneNumber, err.Error())
		}
	}
	if len(r.errs) > 0 {
		return Erasure{}, BadParameters(r.errs)
	}
	return request, nil
}
