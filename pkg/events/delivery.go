package events

import (
	"fmt"
	"strings"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

// ParseDelivery parses the id and claim number of a delivery from its subject and its claim
// header. The body holds both too, for people; the header is cheaper to read.
func ParseDelivery(subject, header string) (message.ID, message.ClaimNumber, error) {
	id, err := message.ParseID(subject[strings.LastIndexByte(subject, '.')+1:])
	if err != nil {
		return message.ID{}, 0, fmt.Errorf("read delivery on %s: %w", subject, err)
	}
	claim, err := message.ParseClaimNumber(header)
	if err != nil {
		return message.ID{}, 0, fmt.Errorf("read delivery on %s: no claim in %s", subject, HeaderClaim)
	}
	return id, claim, nil
}
