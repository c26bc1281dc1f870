package message_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestAStatusHasAVerdict(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]message.ResponseClass{
		200: message.Delivered, 201: message.Delivered, 202: message.Delivered, 204: message.Delivered, 299: message.Delivered,
		408: message.Retryable, 425: message.Retryable, 429: message.Retryable, 500: message.Retryable, 502: message.Retryable, 503: message.Retryable, 599: message.Retryable,
		301: message.Refused, 302: message.Refused, 304: message.Refused, 307: message.Refused, 400: message.Refused, 401: message.Refused,
		404: message.Refused, 410: message.Refused, 422: message.Refused, 409: message.Conflict, 101: message.Refused, 99: message.Refused,
	} {
		require.Equal(t, want, message.Classifier{}.Classify(status), "status %d", status)
	}
}

func TestAClassificationOverridesTheDefault(t *testing.T) {
	t.Parallel()
	retryOn, err := message.ParseStatusCodes([]string{"3xx", "404"})
	require.NoError(t, err)
	failOn, err := message.ParseStatusCodes([]string{"409", "503"})
	require.NoError(t, err)
	c := message.Classifier{RetryOn: retryOn, FailOn: failOn}
	for status, want := range map[int]message.ResponseClass{
		200: message.Delivered, 302: message.Retryable, 404: message.Retryable, 403: message.Refused,
		409: message.Refused, 503: message.Refused, 500: message.Retryable,
	} {
		require.Equal(t, want, c.Classify(status), "status %d", status)
	}
}

func TestAConflictIsSettledByWhatWasBefore(t *testing.T) {
	t.Parallel()
	require.Equal(t, message.Retryable, message.Conflict.Settle(true))
	require.Equal(t, message.Refused, message.Conflict.Settle(false))
	for _, v := range []message.ResponseClass{message.Delivered, message.Retryable, message.Refused} {
		require.Equal(t, v, v.Settle(true))
		require.Equal(t, v, v.Settle(false))
	}
}

func TestAnOutcomeIsUnknownIfTheReceiverMayHaveTheMessage(t *testing.T) {
	t.Parallel()
	var (
		busy    = message.Attempt{Outcome: message.OutcomeRetry, HTTPStatus: 503}
		refused = message.Attempt{Outcome: message.OutcomeRetry, Unsent: true}
		timeout = message.Attempt{Outcome: message.OutcomeRetry}
		gateway = message.Attempt{Outcome: message.OutcomeFailure, HTTPStatus: 504}
		edge    = message.Attempt{Outcome: message.OutcomeRetry, HTTPStatus: 524}
	)
	of := func(claim message.ClaimNumber, delivery int, a message.Attempt) message.RecordedAttempt {
		return message.RecordedAttempt{ClaimNumber: claim, DeliveryCount: delivery, Attempt: a}
	}
	for name, c := range map[string]struct {
		recorded []message.RecordedAttempt
		claim    message.ClaimNumber
		delivery int
		unknown  bool
	}{
		"the first delivery":              {nil, 1, 1, false},
		"known ones before":               {[]message.RecordedAttempt{of(1, 1, busy), of(1, 2, refused), of(2, 1, busy)}, 3, 1, false},
		"a known one of this claim":       {[]message.RecordedAttempt{of(1, 1, busy)}, 1, 2, false},
		"a timeout":                       {[]message.RecordedAttempt{of(1, 1, timeout)}, 1, 2, true},
		"a timeout long ago":              {[]message.RecordedAttempt{of(1, 1, timeout), of(1, 2, busy), of(2, 1, busy)}, 3, 1, true},
		"a gateway that gave up":          {[]message.RecordedAttempt{of(1, 1, gateway)}, 2, 1, true},
		"Cloudflare that gave up":         {[]message.RecordedAttempt{of(1, 1, edge)}, 2, 1, true},
		"a sender that died":              {nil, 1, 2, true},
		"a sender that died, then a 503":  {[]message.RecordedAttempt{of(1, 2, busy)}, 2, 1, true},
		"a claim without an outcome":      {[]message.RecordedAttempt{of(2, 1, busy)}, 3, 1, true},
		"a lost claim":                    {[]message.RecordedAttempt{of(1, 1, busy)}, 3, 1, true},
		"only itself and what came later": {[]message.RecordedAttempt{of(1, 1, timeout), of(2, 1, timeout)}, 1, 1, false},
	} {
		require.Equal(t, c.unknown, message.EarlierOutcomeUnknown(c.recorded, c.claim, c.delivery), name)
	}
	require.False(t, message.Attempt{Outcome: message.OutcomeSuccess}.OutcomeUnknown())
}
