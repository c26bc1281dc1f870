package sender

import (
	"context"

	"github.com/message-dispatcher/dispatch/services/sender/destination"
)

// signStage makes the request that the destination asks for.
type signStage struct {
	destination *destination.Destination
	clock       *clock // receivers reject a timestamp that is minutes off
}

func (s *signStage) run(_ context.Context, d *delivery) step {
	d.number = d.row.Attempts + 1
	d.request = s.destination.Request(d.row, d.number, s.clock.Now())
	return next
}
