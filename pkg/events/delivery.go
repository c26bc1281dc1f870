package events

import (
	"fmt"
	"strings"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// ParseDelivery reads an id and its claim. Both are in the body too, for people; here
// they cost less.
func ParseDelivery(subject, header string) (message.ID, message.ClaimNumber, error) {
	id, err := message.ParseID(subject[strings.LastIndexByte(subject, '.')+1:])
	if err != nil {
		return message.ID{}, 0, fmt.Errorf("read copy on %s: %w", subject, err)
	}
	claim, err := message.ParseClaimNumber(header)
	if err != nil {
		return message.ID{}, 0, fmt.Errorf("read copy on %s: no claim in %s", subject, HeaderClaim)
	}
	return id, claim, nil
}
