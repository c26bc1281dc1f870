package message

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// anyTime is a time that the 48 bits of a UUIDv7 and time.Time can both hold
// to the nanosecond.
var anyTime = rapid.Custom(func(t *rapid.T) time.Time {
	return time.Unix(0, rapid.Int64Min(0).Draw(t, "nanoseconds"))
})

func TestIDsOrderAsTheirTimes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		earlier := anyTime.Draw(t, "earlier")
		later := earlier.Add(time.Duration(rapid.Int64Range(245, int64(time.Hour)).Draw(t, "by"))) // 1 ms / 4096
		a, b := NewID(earlier), NewID(later)
		require.Less(t, a.String(), b.String())
		require.Equal(t, earlier.UTC().Truncate(time.Millisecond), a.Time().Truncate(time.Millisecond))
	})
}

func TestTheFirstIDOfATimeIsTheLowest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from, at := anyTime.Draw(t, "from"), anyTime.Draw(t, "at")
		if rapid.Bool().Draw(t, "close") {
			at = from.Add(time.Duration(rapid.Int64Range(-300, 300).Draw(t, "by")))
		}
		id := NewID(at)
		require.Equal(t, !id.Time().Before(from), id.String() >= FirstID(from).String())
	})
	assert.Zero(t, FirstID(time.Time{}))
}

func TestIDsOfOneMomentDiffer(t *testing.T) {
	t.Parallel()
	seen := map[ID]bool{}
	for range 10_000 {
		seen[NewID(noon)] = true
	}
	assert.Len(t, seen, 10_000)
}

func TestAnIDIsAUUIDv7(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := anyTime.Draw(t, "at")
		for _, id := range []ID{NewID(at), DerivedID(at, rapid.Uint64().Draw(t, "sequence"), rapid.String().Draw(t, "subject"))} {
			require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, id.String())
			require.False(t, id.Time().After(at))
			require.LessOrEqual(t, at.Sub(id.Time()), 245*time.Nanosecond) // 1 ms / 4096 is 244.14 ns, and Time cuts off what is left of a nanosecond
		}
	})
}

func TestADerivedIDIsTheSameEachTimeAndNoOthers(t *testing.T) {
	t.Parallel()
	id := DerivedID(noon, 7, "dispatch.intake.default")
	assert.Equal(t, id, DerivedID(noon.Local(), 7, "dispatch.intake.default"))
	assert.Equal(t, "01b977d7-aa00-7000-a25f-a2bebf3f224d", id.String(), "a redelivery after an upgrade must yield the same")
	assert.Equal(t, "01b977d7-aa00-7fff", DerivedID(noon.Add(999_999), 7, "s").String()[:18], "the fraction of the millisecond, in 4096ths")
	assert.NotEqual(t, id, DerivedID(noon, 8, "dispatch.intake.default"))
	assert.NotEqual(t, id, DerivedID(noon, 7, "dispatch.intake.crm"))
	assert.NotEqual(t, id, DerivedID(noon.Add(1), 7, "dispatch.intake.default"), "a stream made anew counts from 1 again")
}

func TestParseIDReadsWhatStringWrites(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var id ID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		for _, text := range []string{id.String(), strings.ToUpper(id.String())} {
			parsed, err := ParseID(text)
			require.NoError(t, err)
			require.Equal(t, id, parsed)
		}
		var decoded struct{ ID ID }
		encoded, err := json.Marshal(struct{ ID ID }{id})
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(encoded, &decoded))
		require.Equal(t, id, decoded.ID)
	})
}

func TestParseIDRefuses(t *testing.T) {
	t.Parallel()
	const good = "01b977d7-aa00-7000-a25f-a2bebf3f224d"
	for at := range len(good) {
		_, err := ParseID(good[:at] + "/" + good[at+1:])
		assert.ErrorIs(t, err, ErrInvalidID, "at %d", at)
	}
	for _, text := range []string{
		"", "x", "01b977d7aa007000a25fa2bebf3f224d", "{01b977d7-aa00-7000-a25f-a2bebf3f224d}",
		"01b977d7-aa00-7000-a25f-a2bebf3f224", "01b977d7-aa00-7000-a25f-a2bebf3f224g",
		"01b977d7_aa00_7000_a25f_a2bebf3f224d", " 1b977d7-aa00-7000-a25f-a2bebf3f224d",
		"01b977d7-aa00-7000-a25f-a2bebf3f224d\n", "01b977d-7aa00-7000-b447-f59c13b2b7ca",
	} {
		_, err := ParseID(text)
		assert.ErrorIs(t, err, ErrInvalidID, text)
		var id ID
		assert.ErrorIs(t, id.UnmarshalText([]byte(text)), ErrInvalidID, text)
	}
}
