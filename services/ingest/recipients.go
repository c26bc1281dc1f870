package ingest

import (
	"strings"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// recipients knows how recipients are stored.
type recipients struct {
	phones bool // they are phone numbers: E.164
}

// newRecipients returns what the rules say of recipients.
func newRecipients(rules message.Rules) recipients {
	return recipients{phones: rules.Destinations[message.DefaultDestination] == message.RecipientPhone}
}

// normalize brings a recipient that is looked for into the form in which it
// is stored: E.164, where recipients are phone numbers. A '+' that was not
// escaped arrives as a space.
func (r recipients) normalize(text string) string {
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
