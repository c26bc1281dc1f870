// Package environment reads the settings of the commands.
package environment

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/pkg/settings"
)

// Read reads the environment and .env. A .env that can't be read may belong to
// another program: it is reported on standard error and ignored.
func Read(cmd *cobra.Command) settings.Environment {
	given, err := settings.ReadEnvironment(os.Environ(), ".env")
	if err == nil {
		return given
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "dispatch: %s; the file is ignored\n", err)
	given, _ = settings.ReadEnvironment(os.Environ(), os.DevNull)
	return given
}

// Load reads a part of the configuration from the environment and .env. Settings
// without effect are reported on standard error.
func Load[T any](cmd *cobra.Command) (T, error) {
	loaded, err := settings.LoadWith(settings.Parse[T])
	for _, warning := range append(loaded.Warnings, settings.Warnings(settings.Environment{}, &loaded.Config)...) {
		fmt.Fprintf(cmd.ErrOrStderr(), "dispatch: %s\n", warning)
	}
	return loaded.Config, err
}
