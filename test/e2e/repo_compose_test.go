package e2e_test

import (
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

func loadCompose(t *testing.T, env ...string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../../docker-compose.yml"}, cli.WithEnv(env), cli.WithInterpolation(true), cli.WithResolvedPaths(true))
	require.NoError(t, err)
	return options.LoadProject(t.Context())
}

func TestTheComposeFileRunsEverything(t *testing.T) {
	t.Parallel()
	project, err := loadCompose(t, "API_KEYS=shop:k", "WEBHOOK_URL=https://example.com")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"postgres", "redis", "nats", "provision", "ingest", "dispatcher", "sender"}, project.ServiceNames())

	for _, name := range []string{"ingest", "dispatcher", "sender"} {
		service, err := project.GetService(name)
		require.NoError(t, err)
		require.Equal(t, types.ShellCommand{name}, service.Command)
		require.NotNil(t, service.HealthCheck, name)
		require.Empty(t, service.ContainerName, "%s can be scaled", name)
		require.Equal(t, types.ServiceConditionCompletedSuccessfully, service.DependsOn["provision"].Condition)
		require.Greater(t, time.Duration(*service.StopGracePeriod), 75*time.Second, "longer than SHUTDOWN_TIMEOUT")
		if name != "ingest" {
			require.Empty(t, service.Ports, "%s can be scaled", name)
		}
	}
	for _, name := range []string{"postgres", "redis", "nats"} {
		service, err := project.GetService(name)
		require.NoError(t, err)
		require.NotNil(t, service.HealthCheck, name)
	}
}

// TestTheComposeFilePassesEverySettingOn keeps a setting that is added to
// the code from being without effect in containers.
func TestTheComposeFilePassesEverySettingOn(t *testing.T) {
	t.Parallel()
	env := []string{"API_KEYS=shop:k", "WEBHOOK_URL=https://example.com"}
	given := map[string]bool{
		"DATABASE_URL": true, "NATS_URL": true, "REDIS_URL": true, "NATS_LISTEN": true, // the file's own servers are used
		"NATS_CREDS": true, "NATS_NKEY": true, "NATS_CA": true, "NATS_CERT": true, "NATS_KEY": true, "NATS_DOMAIN": true,
		"REDIS_CLUSTER": true, "REDIS_SENTINEL": true, "REDIS_SENTINEL_USER": true, "REDIS_SENTINEL_PASSWORD": true,
		"REDIS_CA": true, "REDIS_CERT": true, "REDIS_KEY": true,
		"DB_HOST": true, "DB_PORT": true, "DB_NAME": true, "DB_USER": true, "REDIS_HOST": true, "REDIS_PORT": true, "REDIS_USER": true,
		"HTTP_ADDR": true, "HEALTH_ADDR": true, "NATS_REPLICAS": true,
	}
	known := map[string]bool{}
	for _, s := range allSettings() {
		known[s.Name] = true
		if !given[s.Name] && s.Name != "API_KEYS" && s.Name != "WEBHOOK_URL" {
			env = append(env, s.Name+"=passed-on")
		}
	}
	project, err := loadCompose(t, env...)
	require.NoError(t, err)
	for _, s := range allSettings() {
		if given[s.Name] || s.Name == "API_KEYS" || s.Name == "WEBHOOK_URL" {
			continue
		}
		for _, name := range s.readBy {
			service, err := project.GetService(name)
			require.NoError(t, err)
			value := service.Environment[s.Name]
			require.True(t, value != nil && *value == "passed-on", "%s does not pass %s on", name, s.Name)
		}
	}
	for _, name := range []string{"provision", "ingest", "dispatcher", "sender"} {
		service, err := project.GetService(name)
		require.NoError(t, err)
		for variable := range service.Environment {
			require.True(t, known[variable], "%s sets %s, which nobody reads", name, variable)
		}
	}
}

func TestTheComposeFileSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	_, err := loadCompose(t, "WEBHOOK_URL=https://example.com")
	require.ErrorContains(t, err, "API_KEYS")
	_, err = loadCompose(t, "API_KEYS=k")
	require.ErrorContains(t, err, "WEBHOOK_URL")
}
