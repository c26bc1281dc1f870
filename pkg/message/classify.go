package message

import "net/http"

// ResponseClass is what a webhook's response means for the message.
type ResponseClass int

// The verdicts.
const (
	// Delivered: the receiver has the message.
	Delivered ResponseClass = iota
	// Retryable: another attempt may go better.
	Retryable
	// Refused: no other attempt will go better.
	Refused
	// Conflict: refused, unless an earlier attempt may have reached the
	// receiver. Then the receiver says that it still works on that one
	// (draft-ietf-httpapi-idempotency-key-header, section 2.6), and another
	// attempt gets the answer.
	Conflict
)

// Settle settles a Conflict: unknown says whether the outcome of an earlier
// attempt is unknown. Any other verdict stays as it is.
func (v ResponseClass) Settle(unknown bool) ResponseClass {
	switch {
	case v != Conflict:
		return v
	case unknown:
		return Retryable
	}
	return Refused
}

// Classifier says which statuses are retried. The zero value is the
// default.
type Classifier struct {
	RetryOn StatusCodes // retried although they would be refused
	FailOn  StatusCodes // refused although they would be retried
}

// Classify judges a status.
func (c Classifier) Classify(status int) ResponseClass {
	switch {
	case status >= 200 && status <= 299:
		return Delivered
	case c.FailOn.Contain(status):
		return Refused
	case c.RetryOn.Contain(status):
		return Retryable
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500:
		return Retryable
	case status == http.StatusConflict:
		return Conflict
	}
	return Refused
}

// OutcomeUnknown says whether the receiver may have the message although the
// attempt did not succeed: there was no response to a request that may have
// arrived, or a gateway in front of the receiver gave up waiting for one. The
// statuses from 520 on are those of Cloudflare.
func (a Attempt) OutcomeUnknown() bool {
	switch status := a.HTTPStatus; {
	case a.Outcome == OutcomeSuccess:
		return false
	case status == 0:
		return !a.Unsent
	case status == http.StatusBadGateway, status == http.StatusGatewayTimeout:
		return true
	default:
		return status >= 520 && status <= 524
	}
}

// RecordedAttempt is an attempt and the delivery of the id that it was made
// for.
type RecordedAttempt struct {
	ClaimNumber   ClaimNumber
	DeliveryCount int // JetStream's count under this claim, from 1
	Attempt       Attempt
}

// EarlierOutcomeUnknown says whether the receiver may have the message from an
// attempt before the given delivery. recorded lists all attempts that have an
// outcome. A delivery without one may have ended with its sender, in the
// middle of a request.
func EarlierOutcomeUnknown(recorded []RecordedAttempt, claim ClaimNumber, delivery int) bool {
	deliveries := map[ClaimNumber]map[int]bool{}
	last := map[ClaimNumber]int{claim: delivery - 1}
	for _, r := range recorded {
		if r.ClaimNumber > claim || r.ClaimNumber == claim && r.DeliveryCount >= delivery {
			continue
		}
		if r.Attempt.OutcomeUnknown() {
			return true
		}
		if deliveries[r.ClaimNumber] == nil {
			deliveries[r.ClaimNumber] = map[int]bool{}
		}
		deliveries[r.ClaimNumber][r.DeliveryCount] = true
		last[r.ClaimNumber] = max(last[r.ClaimNumber], r.DeliveryCount)
	}
	for c := ClaimNumber(1); c <= claim; c++ {
		if c < claim && last[c] == 0 || len(deliveries[c]) < last[c] {
			return true
		}
	}
	return false
}
