package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// proseCommands says of every command that stands between backticks in the
// documentation which test runs it, of this package or of the command's, or
// why none does. What runs tests is looked at by TestTheTestsOfTheProse.
var proseCommands = map[string]struct{ runBy, notRun string }{
	"PROCESSING_INTERVAL=0 make run":     {runBy: "TestMakeRunIsTheOneCommand"},
	"PROCESSING_INTERVAL=2s make run":    {runBy: "TestMakeRunIsTheOneCommand"},
	"make run":                           {runBy: "TestMakeRunIsTheOneCommand"},
	"make build":                         {runBy: "TestMakeMigrations"}, // which needs it
	"make test":                          {notRun: "runs this"},
	"make proof":                         {notRun: "runs this"},
	"make bench":                         {notRun: "measures"},
	"make release":                       {notRun: "builds for minutes; TestTheReleaseContainsWhatItNames reads its configuration"},
	"make generate":                      {notRun: "make lint runs it, and compares"},
	"dispatch --help":                    {runBy: "TestTheCommandItself"},
	"dispatch bench":                     {runBy: "TestBench"},
	"dispatch dispatcher":                {runBy: "TestTheServices"},
	"dispatch ingest":                    {runBy: "TestTheServices"},
	"dispatch sender":                    {runBy: "TestTheServices"},
	"dispatch doctor":                    {runBy: "TestDoctorFindsNothingWrong"},
	"dispatch erase RECIPIENT":           {runBy: "TestErase"},
	"dispatch health":                    {runBy: "TestTheServices"},
	"dispatch import":                    {runBy: "TestTheCommandsOfMIGRATING"},
	"dispatch migrate down":              {runBy: "TestMigrate"},
	"dispatch provision":                 {runBy: "TestProvision"},
	"NATS_REPLICAS=3 dispatch provision": {runBy: "TestAClusterOfThreeServersLosesThemOneByOne"},
	"dispatch send --file":               {runBy: "TestSendAFileOfCSV"},
	"dispatch status":                    {runBy: "TestThePace"},
	"dispatch tail":                      {runBy: "TestTailShowsWhatHappensNow"},
	"dispatch up":                        {runBy: "TestUpNeedsNothingAndLeavesNothing"},
	"nats stream purge":                  {runBy: "TestTheStockNATSToolIsEnough"},
	"nats stream rm":                     {runBy: "TestTheStockNATSToolIsEnough"},
	"pg_dump --schema-only":              {runBy: "TestEveryMigrationLeadsBackToTheSchemaBeforeIt"},

	`pg_dump --no-owner --file=dispatch.sql "$DATABASE_URL"`:              {runBy: "TestADumpOfALoadedSystemComesBackWhole"},
	`psql --set=ON_ERROR_STOP=1 --file=dispatch.sql "$DATABASE_URL"`:      {runBy: "TestADumpOfALoadedSystemComesBackWhole"},
	"go test ./test/e2e -run TestSettingsAreDocumented -update":           {notRun: "writes the documentation"},
	"go test ./test/crash -run TestFailpointsAreDocumented -update":       {notRun: "writes the documentation"},
	"go test -run '^$' -bench Publish -benchtime 1s ./pkg/embedded/natsd": {notRun: "measures"},
}

var proseCommand = regexp.MustCompile("`((?:[A-Z_]+=[^ `\n]* )*(?:bin/)?(?:dispatch|make|nats|pg_dump|psql|go test|curl|docker|createdb) [^`\n]+)`")

func TestEveryCommandOfTheProseIsRun(t *testing.T) {
	t.Parallel()
	tests := testsOf(t, "*_test.go", "../../internal/*/*_test.go", "../../internal/cli/*/*_test.go", "../../pkg/db/*/*_test.go")
	found := map[string]bool{}
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, match := range proseCommand.FindAllStringSubmatch(string(text), -1) {
			command := match[1]
			if strings.HasPrefix(command, "dispatch bench ") {
				command = "dispatch bench" // the test has all the flags of a measurement
			}
			found[command] = true
			c, known := proseCommands[command]
			if !known && strings.HasPrefix(command, "go test") {
				continue // TestTheTestsOfTheProse looks at it
			}
			require.True(t, known, "%s: have a test run `%s`, and say in the table which", filepath.Base(path), command)
			require.NotEqual(t, c.runBy == "", c.notRun == "", "%s: a test, or a reason why there is none", command)
		}
	}
	for command, c := range proseCommands {
		require.True(t, found[command], "the table knows more than there is: %s", command)
		require.True(t, c.runBy == "" || slices.Contains(tests, c.runBy), "%s: there is no %s", command, c.runBy)
	}
}

// TestTheTestsOfTheProse has every `go test` name a package that there is, and
// tests that there are in it.
func TestTheTestsOfTheProse(t *testing.T) {
	t.Parallel()
	where, which := regexp.MustCompile(`\./\S+`), regexp.MustCompile(`-run ('[^']*'|\S+)`)
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, command := range regexp.MustCompile("go test [^`\n]+").FindAllString(string(text), -1) {
			dir := where.FindString(command)
			if dir == "" {
				continue // of no package: prose about go test
			}
			tests := testsOf(t, filepath.Join("..", "..", dir, "*_test.go"))
			require.NotEmpty(t, tests, command)
			for _, run := range which.FindAllStringSubmatch(command, -1) {
				wanted := strings.Trim(run[1], "'")
				if wanted == "^$" {
					continue
				}
				for _, one := range strings.Split(wanted, "|") {
					pattern := regexp.MustCompile(one)
					require.True(t, slices.ContainsFunc(tests, pattern.MatchString), "%s: no test is called %s", command, one)
				}
			}
		}
	}
}

// testsOf lists the tests in files.
func testsOf(t *testing.T, patterns ...string) []string {
	t.Helper()
	var names []string
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, match := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
				names = append(names, match[1])
			}
		}
	}
	return names
}
