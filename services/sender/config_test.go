package sender

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/settings"
)

func environment(given ...string) settings.Environment {
	env := settings.Environment{"DATABASE_URL": "postgres://localhost/x", "WEBHOOK_URL": "https://example.org/hook"}
	for i := 0; i < len(given); i += 2 {
		env[given[i]] = given[i+1]
	}
	return env
}

func parsed(given ...string) error {
	_, err := settings.Parse[Config](environment(given...))
	return err
}

func TestMistakesInHowResponsesAreReadAreReported(t *testing.T) {
	t.Parallel()
	require.NoError(t, parsed("RETRY_ON", "404, 3xx", "FAIL_ON", "501,505", "EXTERNAL_ID", "header:X-Id"))
	for _, c := range []struct{ name, value, want string }{
		{"RETRY_ON", "404,,5xx", "neither"},
		{"RETRY_ON", "soon", "neither"},
		{"FAIL_ON", "2xx", "2xx"},
		{"FAIL_ON", "600", "from 300"},
		{"EXTERNAL_ID", "messageId", "begins with /"},
	} {
		err := parsed(c.name, c.value)
		require.ErrorContains(t, err, c.name)
		require.ErrorContains(t, err, c.want)
	}
	err := parsed("RETRY_ON", "404,5xx", "FAIL_ON", "503")
	require.ErrorContains(t, err, "FAIL_ON")
	require.ErrorContains(t, err, "503")
}

func TestTheDefaultsNeedAWebhookOnly(t *testing.T) {
	t.Parallel()
	cfg, err := settings.Parse[Config](environment())
	require.NoError(t, err)
	require.Equal(t, 64, cfg.Concurrency)
	require.Equal(t, 3, cfg.MaxRetries)
}

func TestEveryMistakeIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := settings.Parse[Config](settings.Environment{
		"DATABASE_URL": "postgres://localhost/x", "WEBHOOK_URL": "ftp://user:hunter2@host",
		"WEBHOOK_TIMEOUT": "1h", "WEBHOOK_SECRET": "whsec_???", "WEBHOOK_HEADERS": "Idempotency-Key: s3cret",
		"RETRY_FACTOR": "0.5", "SENDER_CONCURRENCY": "0", "EVENT_CONTENT": "some",
	})
	var mistakes *settings.ValidationErrors
	require.ErrorAs(t, err, &mistakes)
	for _, name := range []string{
		"WEBHOOK_URL", "WEBHOOK_TIMEOUT", "SHUTDOWN_TIMEOUT", "WEBHOOK_SECRET", "WEBHOOK_HEADERS",
		"RETRY_FACTOR", "SENDER_CONCURRENCY", "EVENT_CONTENT",
	} {
		require.Contains(t, err.Error(), name)
	}
	for _, secret := range []string{"hunter2", "???", "s3cret"} {
		require.NotContains(t, err.Error(), secret)
	}
}

func TestAShutdownMustOutlastARequest(t *testing.T) {
	t.Parallel()
	_, err := settings.Parse[Config](environment("WEBHOOK_TIMEOUT", "36s", "SHUTDOWN_TIMEOUT", "45s"))
	require.ErrorContains(t, err, "SHUTDOWN_TIMEOUT")
	_, err = settings.Parse[Config](environment("WEBHOOK_TIMEOUT", "35s", "SHUTDOWN_TIMEOUT", "45s"))
	require.NoError(t, err)
	_, err = settings.Parse[Config](environment("WEBHOOK_TIMEOUT", settings.MaxWebhookTimeout.String()))
	require.NoError(t, err, "the default is enough for the longest request")
}
