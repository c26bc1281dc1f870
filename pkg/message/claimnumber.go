package message

import (
	"errors"
	"strconv"
)

// ClaimNumber is the fencing token of a message: each emission of its id, and
// each retry that is parked, takes a higher one. Whoever holds a delivery with
// a lower number than the message's has been superseded. The first is 1; 0
// means that the id was never emitted.
type ClaimNumber int64

// ErrInvalidClaimNumber is returned by ParseClaimNumber for anything but a
// decimal number above 0.
var ErrInvalidClaimNumber = errors.New("not a claim number")

// ParseClaimNumber reads the text that String writes. It returns
// ErrInvalidClaimNumber for everything else.
func ParseClaimNumber(text string) (ClaimNumber, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return 0, ErrInvalidClaimNumber
	}
	return ClaimNumber(n), nil
}

// String returns the number in decimal.
func (n ClaimNumber) String() string { return strconv.FormatInt(int64(n), 10) }
