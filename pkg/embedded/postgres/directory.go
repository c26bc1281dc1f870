package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/pkg/embedded/internal/datadir"
	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
)

// directory is a locked directory with the data directory of a PostgreSQL in it.
type directory struct{ *datadir.Dir }

// version returns the major version that created the data, 0 if there is none yet.
func (d directory) version() int {
	text, err := os.ReadFile(filepath.Join(d.Data, "PG_VERSION"))
	if err != nil {
		return 0
	}
	version, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return version
}

// initialise creates the data on first use and returns the password. initdb writes
// to a temporary place next to the final one. If it is killed, it leaves nothing
// that looks like valid data.
func (d directory) initialise(ctx context.Context, bin string) (string, error) {
	if d.version() > 0 {
		if _, err := os.Stat(d.PasswordFile()); err != nil {
			return "", fmt.Errorf("the data directory is there, its password is not: %w", err)
		}
		return d.Password()
	}
	password, err := d.Password()
	if err != nil {
		return "", err
	}
	fresh := d.Data + ".new"
	if err := d.initdb(ctx, bin, fresh); err != nil {
		return "", err
	}
	if err := os.Rename(fresh, d.Data); err != nil {
		return "", fmt.Errorf("put the new data directory in place: %w", err)
	}
	return password, d.Sync()
}

func (d directory) initdb(ctx context.Context, bin, data string) error {
	args := []string{
		"--pgdata=" + data, "--username=" + superuser, "--pwfile=" + d.PasswordFile(),
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions",
	}
	if d.Ephemeral {
		args = append(args, "--no-sync")
	}
	var output bytes.Buffer
	process, err := d.Run(ctx, process.Config{
		Path: filepath.Join(bin, "initdb"), Args: args, Env: environment(),
		Output: &output, Grace: time.Second,
	}, func() error {
		return errors.Join(os.RemoveAll(data), os.Mkdir(data, 0o700), d.User.Chown(data))
	})
	if err != nil {
		return err
	}
	select {
	case <-process.Done():
	case <-ctx.Done():
		process.Kill()
		return context.Cause(ctx)
	}
	if status := process.ExitCode(); status != 0 {
		return fmt.Errorf("initdb: exit status %d: %s", status, strings.TrimSpace(output.String()))
	}
	return nil
}
