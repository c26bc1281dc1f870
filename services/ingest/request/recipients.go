package request

import (
	"strings"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Recipients knows how Recipients are stored.
type Recipients struct {
	phones bool // they are phone numbers: E.164
}

// NewRecipients returns what the rules say of recipients.
func NewRecipients(rules message.Rules) Recipients {
	return Recipients{phones: rules.Destinations[message.DefaultDestination] == message.RecipientPhone}
}

// Normalize brings a recipient that is looked for into the form in which it
// is stored: E.164, where recipients are phone numbers. A '+' that was not
// escaped arrives as a space.
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
