package testenv

import (
	"flag"
	"strconv"
	"testing"
)

// Main runs the tests of a package, and is what its TestMain calls. Tests of
// whole installations wait more than they compute: for leases, redeliveries and
// timeouts. Therefore atOnce of them run at the same time, on however few
// processors. The flag -parallel wins.
func Main(m *testing.M, atOnce int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
			panic(err) // package testing defines the flag
		}
	}
	m.Run() // package testing exits with its result
}
