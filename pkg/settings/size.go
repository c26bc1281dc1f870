package settings

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as 512MiB, 5GB or a plain number.
type Size int64

var sizePattern = regexp.MustCompile(`^([0-9]+)\s*([KMGT]i?B|B|)$`)

var sizeUnits = map[string]int64{
	"": 1, "B": 1,
	"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// UnmarshalText parses a size.
func (s *Size) UnmarshalText(text []byte) error {
	parts := sizePattern.FindStringSubmatch(strings.TrimSpace(string(text)))
	if parts == nil {
		return ValidationError{Problem: "must be a size like 512MiB, 5GB or 1048576"}
	}
	unit := sizeUnits[parts[2]]
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return ValidationError{Problem: "must be less than 8 EiB"}
	}
	*s = Size(n * unit)
	return nil
}

// String returns the size in the largest binary unit without a fraction.
func (s Size) String() string {
	for _, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if size := sizeUnits[unit]; s >= Size(size) && int64(s)%size == 0 {
			return fmt.Sprintf("%d%s", int64(s)/size, unit)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
