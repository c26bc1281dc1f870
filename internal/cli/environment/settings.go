package environment

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Read reads the environment and .env. A .env that can't be used, which
// may be that of another program, is told on standard error and done without.
func Read(cmd *cobra.Command) settings.Environment {
	given, err := settings.ReadEnvironment(os.Environ(), ".env")
	if err == nil {
		return given
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "dispatch: %s; what it sets has no effect\n", err)
	given, _ = settings.ReadEnvironment(os.Environ(), os.DevNull)
	return given
}

// Load reads a part of the configuration from the environment and .env, and
// tells on standard error what has no effect.
func Load[T any](cmd *cobra.Command) (T, error) {
	loaded, err := settings.LoadWith(settings.Parse[T])
	for _, warning := range append(loaded.Warnings, settings.Warnings(settings.Environment{}, &loaded.Config)...) {
		fmt.Fprintf(cmd.ErrOrStderr(), "dispatch: %s\n", warning)
	}
	return loaded.Config, err
}
