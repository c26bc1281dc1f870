package message

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"github.com/stretchr/testify/require"
)

// TestIsE164SaysWhatParsingSays tries numbers of every territory, as they
// are, with digits before, within and behind them, and at random.
func TestIsE164SaysWhatParsingSays(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	quick := 0
	try := func(dialled string) {
		if !isE164(dialled) {
			return
		}
		quick++
		var parsed phonenumbers.PhoneNumber
		require.NoError(t, phonenumbers.ParseToNumber(dialled, "ZZ", &parsed), dialled)
		require.Equal(t, phonenumbers.IS_POSSIBLE, phonenumbers.IsPossibleNumberWithReason(&parsed), dialled)
		require.Equal(t, dialled, phonenumbers.Format(&parsed, phonenumbers.E164))
	}
	for region := range phonenumbers.GetSupportedRegions() {
		code := phonenumbers.GetCountryCodeForRegion(region)
		for kind := range phonenumbers.UNKNOWN {
			example := phonenumbers.GetExampleNumberForType(region, kind)
			if example == nil {
				continue
			}
			national := phonenumbers.GetNationalSignificantNumber(example)
			try(fmt.Sprintf("+%d%s", code, national))
			for _, prefix := range []string{"0", "1", "8", "9", "06", "15", "80", "810", strconv.Itoa(random.IntN(1000))} {
				try(fmt.Sprintf("+%d%s%s", code, prefix, national))
			}
			try(fmt.Sprintf("+%d%s%d", code, national, random.IntN(10)))
			try(fmt.Sprintf("+%d%s", code, national[:len(national)-1]))
		}
		for range 200 {
			try(fmt.Sprintf("+%d%d", code, random.Int64N(1e12)))
		}
	}
	for range 20_000 {
		try(fmt.Sprintf("+%d", random.Int64N(1e15)))
	}
	require.Greater(t, quick, 10_000, "most of what is right is seen at once")
}

func BenchmarkNormalizePhone(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = NormalizePhone("+905551111111")
	}
}
