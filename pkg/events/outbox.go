package events

import (
	"encoding/binary"
	"fmt"
	"maps"
	"strconv"

	"github.com/klauspost/compress/s2"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// OutboxMessage is one message to publish, as the outbox keeps it.
type OutboxMessage struct {
	Subject string
	MsgID   string // Nats-Msg-Id: publishing again within the stream's window is harmless
	Headers map[string]string
	Data    []byte
}

// IsDelivery reports whether the message puts an id on the delivery queue.
func (e OutboxMessage) IsDelivery() bool {
	return e.Headers[HeaderClaim] != "" && e.Headers[natsjs.ScheduleHeader] == ""
}

// ExpectLastSequence returns the message with the condition that the last message on its
// subject has this sequence; 0: there is none. Otherwise the server refuses it.
func (e OutboxMessage) ExpectLastSequence(sequence uint64) OutboxMessage {
	e.Headers = maps.Clone(e.Headers)
	if e.Headers == nil {
		e.Headers = map[string]string{}
	}
	e.Headers[natsjs.ExpectedLastSubjSeqHeader] = strconv.FormatUint(sequence, 10)
	return e
}

// batchFormat is the first byte of an uncompressed batch. A later format gets another
// byte, so that rows of an older release can still be read.
const batchFormat = 1

// EncodeOutbox encodes messages for a row of the outbox: the parts of each with their
// lengths, all compressed. The events of a batch resemble each other, so compression
// leaves little of them.
func EncodeOutbox(entries []OutboxMessage) []byte {
	size := 1
	for _, e := range entries {
		size += len(e.Subject) + len(e.MsgID) + len(e.Data) + 16 + 64*len(e.Headers)
	}
	plain := append(make([]byte, 0, size), batchFormat)
	for _, e := range entries {
		plain = appendPart(plain, e.Subject)
		plain = appendPart(plain, e.MsgID)
		plain = binary.AppendUvarint(plain, uint64(len(e.Headers)))
		for name, value := range e.Headers {
			plain = appendPart(appendPart(plain, name), value)
		}
		plain = appendPart(plain, e.Data)
	}
	return s2.Encode(nil, plain)
}

func appendPart[T string | []byte](b []byte, part T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(part))), part...)
}

// DecodeOutbox decodes what EncodeOutbox encoded.
func DecodeOutbox(batch []byte) ([]OutboxMessage, error) {
	plain, err := s2.Decode(nil, batch)
	if err != nil {
		return nil, fmt.Errorf("unpack outbox batch: %w", err)
	}
	if len(plain) == 0 || plain[0] != batchFormat {
		return nil, fmt.Errorf("decode outbox batch: %w", errBatch)
	}
	var entries []OutboxMessage
	for rest := (parts{rest: plain[1:]}); len(rest.rest) > 0; {
		e := OutboxMessage{Subject: string(rest.next()), MsgID: string(rest.next())}
		if headers := rest.number(); headers > 0 && !rest.broken {
			e.Headers = make(map[string]string)
			for range headers {
				name, value := rest.next(), rest.next()
				if rest.broken {
					break
				}
				e.Headers[string(name)] = string(value)
			}
		}
		e.Data = rest.next()
		if rest.broken {
			return nil, fmt.Errorf("decode outbox batch: %w", errBatch)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// OutboxSize is how many bytes DecodeOutbox uncompresses; 0 if the batch is invalid.
func OutboxSize(batch []byte) int {
	size, err := s2.DecodedLen(batch)
	if err != nil {
		return 0
	}
	return size
}

// parts reads what appendPart wrote.
type parts struct {
	rest   []byte
	broken bool // something was missing; what was read since is empty
}

func (p *parts) number() uint64 {
	n, size := binary.Uvarint(p.rest)
	if size <= 0 {
		p.rest, p.broken = nil, true
		return 0
	}
	p.rest = p.rest[size:]
	return n
}

func (p *parts) next() []byte {
	length := p.number()
	if length > uint64(len(p.rest)) {
		p.rest, p.broken = nil, true
		return nil
	}
	part := p.rest[:length:length]
	p.rest = p.rest[length:]
	return part
}
