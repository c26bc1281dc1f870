package e2e_test

import (
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/up"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/settings"
	"github.com/message-dispatcher/dispatch/services/ingest"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// invalidSettings are settings that can't be meant, each with the variables that
// are to be named. A variable that is named is one that was set, so that all
// mistakes that speak of different ones can be made together.
var invalidSettings = map[string]struct {
	set   settings.Environment
	named []string
}{
	"Postgres: no URL":               {env("DATABASE_URL", "db.example.com/dispatch"), names("DATABASE_URL")},
	"Postgres: another scheme":       {env("DATABASE_URL", "mysql://u:hunter2@db/dispatch"), names("DATABASE_URL")},
	"Postgres: an odd port":          {env("DATABASE_URL", "postgres://u:hunter2@db:port/dispatch"), names("DATABASE_URL")},
	"Postgres: an odd sslmode":       {env("DATABASE_URL", "postgres://u:hunter2@db/dispatch?sslmode=perhaps"), names("DATABASE_URL")},
	"Postgres: a host alone":         {env("DB_HOST", "db"), names("DB_USER")},
	"Postgres: parts that are wrong": {env("DB_HOST", "db", "DB_USER", "u", "DB_PORT", "99999", "DB_NAME", "d"), names("DB_PORT")},
	"NATS: another scheme":           {env("NATS_URL", "http://u:hunter2@nats:4222"), names("NATS_URL")},
	"NATS: one of several is wrong":  {env("NATS_URL", "nats://a:4222,tls://"), names("NATS_URL")},
	"NATS: an even number":           {env("NATS_REPLICAS", "2"), names("NATS_REPLICAS")},
	"NATS: too many":                 {env("NATS_REPLICAS", "7"), names("NATS_REPLICAS")},
	"NATS: no number":                {env("NATS_REPLICAS", "three"), names("NATS_REPLICAS")},
	"NATS: nowhere to listen":        {env("NATS_LISTEN", "4222"), names("NATS_LISTEN")},
	"NATS: where HTTP listens":       {env("NATS_LISTEN", ":8080"), names("NATS_LISTEN")},
	"a prefix with a dot":            {env("PREFIX", "a.b"), names("PREFIX")},
	"Redis: no URL":                  {env("REDIS_URL", "redis.example.com:6379"), names("REDIS_URL")},
	"Redis: an odd database":         {env("REDIS_URL", "redis://u:hunter2@redis:6379/first"), names("REDIS_URL")},
	"Redis: no port":                 {env("REDIS_HOST", "redis", "REDIS_PORT", "0"), names("REDIS_PORT")},
	"NATS: more than one here":       {env("NATS_REPLICAS", "3"), names("NATS_REPLICAS")},
	"Postgres: a part of a password": {env("DATABASE_URL", "postgres://u:12#hunter2@db/dispatch"), names("DATABASE_URL")},
	"log: a level":                   {env("LOG_LEVEL", "loud"), names("LOG_LEVEL")},
	"log: a format":                  {env("LOG_FORMAT", "xml"), names("LOG_FORMAT")},

	"interval: no unit":    {env("PROCESSING_INTERVAL", "120"), names("PROCESSING_INTERVAL")},
	"interval: too short":  {env("PROCESSING_INTERVAL", "1us"), names("PROCESSING_INTERVAL")},
	"interval: negative":   {env("PROCESSING_INTERVAL", "-2m"), names("PROCESSING_INTERVAL")},
	"interval: too long":   {env("PROCESSING_INTERVAL", "721h"), names("PROCESSING_INTERVAL")},
	"batch: nothing":       {env("BATCH_SIZE", "0"), names("BATCH_SIZE")},
	"batch: beyond bounds": {env("BATCH_SIZE", "10001"), names("BATCH_SIZE")},
	"a shutdown at once":   {env("SHUTDOWN_TIMEOUT", "0"), names("SHUTDOWN_TIMEOUT", "SHUTDOWN_TIMEOUT")},
	"a lease of nothing":   {env("LEASE", "0"), names("LEASE")},

	"HTTP: no port":                {env("HTTP_ADDR", "localhost"), names("HTTP_ADDR")},
	"HTTP: open without keys":      {env("HTTP_ADDR", ":8080"), names("HTTP_ADDR")},
	"keys: one without a key":      {env("API_KEYS", "shop:,crm:hunter2"), names("API_KEYS")},
	"keys: one of two names":       {env("API_KEYS", "shop:hunter2,crm:hunter2"), names("API_KEYS")},
	"keys: several mistakes":       {env("API_KEYS", "shop:,c r m:hunter2,x:hunter 2"), names("API_KEYS", "API_KEYS", "API_KEYS")},
	"content: nothing":             {env("MAX_CONTENT_LENGTH", "0"), names("MAX_CONTENT_LENGTH")},
	"content: beyond a request":    {env("MAX_CONTENT_LENGTH", "20000000"), names("MAX_CONTENT_LENGTH")},
	"payload: beyond a request":    {env("MAX_PAYLOAD_BYTES", "16777216"), names("MAX_PAYLOAD_BYTES")},
	"payload: beyond an event":     {env("MAX_PAYLOAD_BYTES", "600000", "EVENT_CONTENT", "full"), names("EVENT_CONTENT")},
	"events: neither none nor all": {env("EVENT_CONTENT", "some"), names("EVENT_CONTENT")},
	"a recipient of a kind":        {env("WEBHOOK_RECIPIENT", "fax"), names("WEBHOOK_RECIPIENT")},

	"webhook: another scheme":         {env("WEBHOOK_URL", "ftp://u:hunter2@example.com"), names("WEBHOOK_URL")},
	"webhook: no host":                {env("WEBHOOK_URL", "https:///hook"), names("WEBHOOK_URL")},
	"webhook: longer than a shutdown": {env("WEBHOOK_TIMEOUT", "40s", "SHUTDOWN_TIMEOUT", "45s"), names("SHUTDOWN_TIMEOUT")},
	"webhook: a shutdown too short":   {env("SHUTDOWN_TIMEOUT", "9s"), names("SHUTDOWN_TIMEOUT")},
	"webhook: no time at all":         {env("WEBHOOK_TIMEOUT", "0"), names("WEBHOOK_TIMEOUT")},
	"webhook: too much time":          {env("WEBHOOK_TIMEOUT", "61s", "SHUTDOWN_TIMEOUT", "2m"), names("WEBHOOK_TIMEOUT")},
	"webhook: a secret's form":        {env("WEBHOOK_SECRET", "whsec_hunter2!"), names("WEBHOOK_SECRET")},
	"webhook: too many secrets":       {env("WEBHOOK_SECRET", "hunter2,hunter2b,hunter2c"), names("WEBHOOK_SECRET")},
	"webhook: a secret in quotes":     {env("WEBHOOK_SECRET", `"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`), names("WEBHOOK_SECRET")},
	"webhook: half in quotes":         {env("WEBHOOK_SECRET", `"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`), names("WEBHOOK_SECRET")},
	"webhook: two plain words":        {env("WEBHOOK_SECRET", "hunter2 hunter2"), names("WEBHOOK_SECRET")},
	"webhook: a fragment":             {env("WEBHOOK_URL", "https://u:12#hunter2@example.com/"), names("WEBHOOK_URL")},
	"webhook: two authorizations":     {env("WEBHOOK_URL", "https://u:hunter2@example.com", "WEBHOOK_HEADERS", "Authorization: Bearer hunter2"), names("WEBHOOK_URL")},
	"webhook: a header of ours":       {env("WEBHOOK_HEADERS", "Idempotency-Key: hunter2"), names("WEBHOOK_HEADERS")},
	"retries: fewer than none":        {env("MAX_RETRIES", "-1"), names("MAX_RETRIES")},
	"retries: at once":                {env("RETRY_BASE", "0"), names("RETRY_BASE")},
	"retries: ever faster":            {env("RETRY_FACTOR", "0.5"), names("RETRY_FACTOR")},
	"retries: no factor":              {env("RETRY_FACTOR", "NaN"), names("RETRY_FACTOR")},
	"retries: the most is the least":  {env("RETRY_BASE", "2h"), names("RETRY_MAX")},
	"retries: no duration":            {env("RETRY_MAX", "1 hour"), names("RETRY_MAX")},
	"senders: none":                   {env("SENDER_CONCURRENCY", "0"), names("SENDER_CONCURRENCY")},
	"senders: too many":               {env("SENDER_CONCURRENCY", "2049"), names("SENDER_CONCURRENCY")},
}

func env(given ...string) settings.Environment {
	e := settings.Environment{}
	for i := 0; i < len(given); i += 2 {
		e[given[i]] = given[i+1]
	}
	return e
}

func names(list ...string) []string { return list }

func TestEveryMistakeIsFoundAtTheStart(t *testing.T) {
	t.Parallel()
	for name, m := range invalidSettings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := up.Parse(m.set, "")
			var wrong *settings.ValidationErrors
			require.ErrorAs(t, err, &wrong)
			var got []string
			for _, mistake := range wrong.All {
				got = append(got, mistake.Variable)
			}
			require.ElementsMatch(t, m.named, got, "%v", err)
			require.NotContains(t, err.Error(), "hunter2", "no secret is shown")
			require.NotRegexp(t, `(?m)^[A-Z_]+$`, err.Error(), "each says what is allowed")
		})
	}
}

// TestTwoListenersNeedTwoAddresses is about ingest, which answers for its
// health on HTTP_ADDR as well.
func TestTwoListenersNeedTwoAddresses(t *testing.T) {
	t.Parallel()
	for health, clashes := range map[string]bool{
		"127.0.0.1:8080": true, "localhost:8080": true, ":8080": true, "0.0.0.0:8080": true, "[::]:8080": true,
		"127.0.0.1:8081": false, "127.0.0.2:8080": false, "": false,
	} {
		_, err := settings.Parse[ingest.Config](env("DATABASE_URL", "postgres://db/d", "HEALTH_ADDR", health))
		var wrong *settings.ValidationErrors
		if !clashes {
			require.NoError(t, err, health)
			continue
		}
		require.ErrorAs(t, err, &wrong, health)
		require.Len(t, wrong.All, 1)
		require.Equal(t, "HEALTH_ADDR", wrong.All[0].Variable)
		require.Contains(t, wrong.All[0].Problem, "HTTP_ADDR")
	}
}

// TestWhatIsHardlyMeantIsSaid is about settings that work.
func TestWhatIsHardlyMeantIsSaid(t *testing.T) {
	t.Parallel()
	for want, set := range map[string]settings.Environment{
		"DB_HOST is ignored":                                   env("DATABASE_URL", "postgres://db/d", "DB_HOST", "db"),
		"DB_USER is ignored":                                   env("DATABASE_URL", "postgres://db/d", "DB_USER", "u"),
		"REDIS_HOST is ignored":                                env("REDIS_URL", "redis://redis", "REDIS_HOST", "redis"),
		"HEALTH_ADDR is ignored by up":                         env("HEALTH_ADDR", "127.0.0.1:8080"),
		"NATS_LISTEN is ignored":                               env("NATS_URL", "nats://nats", "NATS_LISTEN", "127.0.0.1:4333"),
		"LEASE=1m0s is shorter":                                env("LEASE", "1m"),
		"MAX_PAYLOAD_BYTES=2000000 is more than a NATS server": env("MAX_PAYLOAD_BYTES", "2000000"),
		"DISPATCH_BATCH_SIZE is not known":                     env("DISPATCH_BATCH_SIZE", "3"),
	} {
		cfg, err := up.Parse(set, "")
		require.NoError(t, err)
		warnings := settings.Warnings(set, &cfg)
		require.Len(t, warnings, 1, "%v", warnings)
		require.True(t, strings.HasPrefix(warnings[0], want), warnings[0])
	}
	cfg, err := up.Parse(env("BATCH_SIZE", ""), "") // as the compose file passes on what is unset
	require.NoError(t, err)
	require.Empty(t, settings.Warnings(nil, &cfg))
}

// TestAllMistakesAreReportedAtOnce starts every program with as many mistakes as
// there can be together.
func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	all := settings.Environment{}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(invalidSettings)) {
		m := invalidSettings[name]
		if len(m.set) > 1 || m.set[m.named[0]] == "" || all[m.named[0]] != "" || m.named[0] == "DB_USER" {
			continue // it needs others to be right
		}
		maps.Copy(all, m.set)
		wrong = append(wrong, m.named[0])
	}
	require.Greater(t, len(wrong), 25)
	readBy := map[string][]string{}
	for _, s := range allSettings() {
		readBy[s.Name] = s.readBy
	}
	for _, program := range []string{"up", "provision", "ingest", "dispatcher", "sender"} {
		args := []string{program}
		if program == "up" {
			args = append(args, "--data", embeddedtest.Dir(t))
		}
		cmd := exec.CommandContext(t.Context(), testenv.Build(t), args...)
		cmd.Dir = t.TempDir()
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		for name, value := range all {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		printed, _ := cmd.CombinedOutput() // the exit code tells
		out := string(printed)
		require.Equal(t, 2, cmd.ProcessState.ExitCode(), "%s", out)
		told := map[string]bool{}
		for _, line := range regexp.MustCompile(`(?m)^  ([A-Z_]+)[=:].*$`).FindAllStringSubmatch(out, -1) {
			told[line[1]] = true
		}
		for _, name := range wrong {
			reads := program == "up" || slices.Contains(readBy[name], program)
			require.Equal(t, reads, told[name], "%s of %s:\n%s", name, program, out)
		}
		require.NotContains(t, out, "hunter2")
	}
}
