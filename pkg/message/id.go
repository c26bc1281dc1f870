package message

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"
)

// ErrInvalidID is returned by ParseID for anything but the canonical text of
// a UUID.
var ErrInvalidID = errors.New("not a UUID")

// ID identifies a message. It is a UUIDv7 (RFC 9562, section 5.7): its order
// is the order of creation, to a quarter of a microsecond within a process.
type ID [16]byte

// NewID returns a fresh ID for the time now. The 12 bits after the version
// carry the fraction of the millisecond (RFC 9562, section 6.2, method 3);
// the other 62 are random. It is safe for concurrent use.
func NewID(now time.Time) ID {
	var id ID
	_, _ = rand.Read(id[8:]) // crypto/rand.Read never fails: it ends the program instead
	id.stamp(ticks(now))
	return id
}

// DerivedID returns the ID of a message that came in through a stream: its
// time is the stream's timestamp of the entry, the rest a hash of timestamp,
// sequence and subject, so that a redelivery of the entry yields the same ID
// and a stream made anew under the old name yields others.
func DerivedID(stored time.Time, sequence uint64, subject string) ID {
	buf := make([]byte, 16, 16+len(subject))
	binary.BigEndian.PutUint64(buf, uint64(stored.UnixNano()))
	binary.BigEndian.PutUint64(buf[8:], sequence)
	sum := sha256.Sum256(append(buf, subject...))

	var id ID
	copy(id[:], sum[:])
	id.stamp(ticks(stored))
	return id
}

// An ID's time is counted in ticks, of which a millisecond has 4096.
const (
	tickBits     = 12
	ticksInMilli = 1 << tickBits
)

// ticks returns the ticks from 1970 to t, rounded down.
func ticks(t time.Time) int64 {
	ms := t.UnixMilli()
	return ms<<tickBits + (t.UnixNano()-ms*int64(time.Millisecond))*ticksInMilli/int64(time.Millisecond)
}

// stamp writes the time, the version and the variant, and leaves the other bits.
func (id *ID) stamp(ticks int64) {
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], uint64(ticks>>tickBits)<<16)
	copy(id[:6], head[:6])
	binary.BigEndian.PutUint16(id[6:8], 0x7000|uint16(ticks&(ticksInMilli-1)))
	id[8] = id[8]&0x3f | 0x80
}

// Time returns the creation time that the ID carries, to a quarter of a
// microsecond.
func (id ID) Time() time.Time {
	var head [8]byte
	copy(head[2:], id[:6])
	fraction := time.Duration(binary.BigEndian.Uint16(id[6:8])&0x0fff) * time.Millisecond / ticksInMilli
	return time.UnixMilli(int64(binary.BigEndian.Uint64(head[:]))).Add(fraction).UTC()
}

// FirstID returns the lowest ID whose Time is not before t; no earlier one
// than that of 1970.
func FirstID(t time.Time) ID {
	var id ID
	if t.UnixMilli() < 0 {
		return id
	}
	id.stamp(ticks(t))
	if id.Time().Before(t) {
		id.stamp(ticks(t) + 1)
	}
	return id
}

// String returns the canonical lower-case text, 36 bytes long.
func (id ID) String() string {
	text, _ := id.AppendText(make([]byte, 0, 36))
	return string(text)
}

// AppendText implements encoding.TextAppender. It never fails.
func (id ID) AppendText(b []byte) ([]byte, error) {
	for i, group := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, group)
	}
	return b, nil
}

// MarshalText implements encoding.TextMarshaler. It never fails.
func (id ID) MarshalText() ([]byte, error) {
	return id.AppendText(make([]byte, 0, 36))
}

// UnmarshalText implements encoding.TextUnmarshaler. It returns ErrInvalidID
// for anything but the canonical text.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// ParseID reads the canonical text of a UUID of any version, in upper or
// lower case. It returns ErrInvalidID for everything else.
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return ID{}, ErrInvalidID
	}
	digits := text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return ID{}, ErrInvalidID
	}
	return id, nil
}
