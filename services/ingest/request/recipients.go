package request

import (
	"strings"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Recipients converts recipients to the form in which they are stored.
type Recipients struct {
	phones bool // stored as E.164
}

// NewRecipients returns the conversion that fits the rules.
func NewRecipients(rules message.Rules) Recipients {
	return Recipients{phones: rules.Destinations[message.DefaultDestination] == message.RecipientPhone}
}

// Normalize returns a recipient in the form in which it is stored. A phone
// number may have a space for its '+': so a '+' arrives that was not escaped in
// a URL. Text that is no phone number is returned as it is.
func (r Recipients) Normalize(text string) string {
	if !r.phones {
		return text
	}
	number, err := message.NormalizePhone(text)
	if before, after, spaced := strings.Cut(text, " "); err != nil && spaced {
		number, err = message.NormalizePhone(before + "+" + after)
	}
	if err != nil {
		return text
	}
	return number
}
