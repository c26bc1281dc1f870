package checker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/jackc/pgx/v5"
)

// Unsettled says what is still on its way, in one line; empty once nothing is.
// An error means that a place can't be asked yet.
func Unsettled(ctx context.Context, at Places) (string, error) {
	var waits []string
	conn, err := pgx.Connect(ctx, at.Database)
	if err != nil {
		return "", fmt.Errorf("ask Postgres: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var open, outbox int
	err = conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM messages WHERE status IN ('PENDING', 'QUEUED', 'RETRYING')),
		(SELECT count(*) FROM outbox)`).Scan(&open, &outbox)
	if err != nil {
		return "", fmt.Errorf("ask Postgres: %w", err)
	}
	if open > 0 {
		waits = append(waits, fmt.Sprintf("%d messages not final", open))
	}
	if outbox > 0 {
		waits = append(waits, fmt.Sprintf("%d outbox rows", outbox))
	}
	inStreams, err := unsettledNATS(ctx, at)
	if err != nil {
		return "", fmt.Errorf("ask NATS: %w", err)
	}
	return strings.Join(append(waits, inStreams...), ", "), nil
}

func unsettledNATS(ctx context.Context, at Places) ([]string, error) {
	conn, err := nats.Connect(at.NATS)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	js, err := natsjs.New(conn)
	if err != nil {
		return nil, err
	}
	prefix := strings.ToUpper(at.Prefix)
	var waits []string
	for _, name := range []string{"INTAKE", "DELIVERIES"} {
		stream, err := js.Stream(ctx, prefix+"_"+name)
		if err != nil {
			return nil, err
		}
		if n := stream.CachedInfo().State.Msgs; n > 0 {
			waits = append(waits, fmt.Sprintf("%d on %s", n, name))
		}
	}
	readers := map[string]string{"recorder": "EVENTS"}
	if at.Redis != "" {
		readers["cache"] = "CHANGES"
	}
	for name, stream := range readers {
		consumer, err := js.Consumer(ctx, prefix+"_"+stream, name)
		if errors.Is(err, natsjs.ErrConsumerNotFound) {
			waits = append(waits, "no "+name)
			continue
		}
		if err != nil {
			return nil, err
		}
		info := consumer.CachedInfo()
		if n := int(info.NumPending) + info.NumAckPending; n > 0 {
			waits = append(waits, fmt.Sprintf("%d on %s before the %s", n, stream, name))
		}
	}
	return waits, nil
}
