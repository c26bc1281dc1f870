package testenv

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
)

// Main runs the tests of a package, and is what its TestMain calls. Tests of
// whole installations wait more than they compute: for leases, redeliveries and
// timeouts. Therefore atOnce of them run at the same time, on however few
// processors. The flag -parallel wins.
func Main(m *testing.M, atOnce int) {
	if err := SetParallel(atOnce); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// SetParallel is Main without the run, for a TestMain with more to do.
func SetParallel(atOnce int) error {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(atOnce))
}
