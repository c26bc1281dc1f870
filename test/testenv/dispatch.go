package testenv

import (
	"context"
	"os"
	"testing"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/process"
)

// StartProcess starts the dispatch program with arguments and an environment of
// its own. It ends with the test, or with the test process.
func StartProcess(t testing.TB, env map[string]string, args ...string) *Process {
	t.Helper()
	return NewProcess(t, args[0], Build(t), env, args...).Start()
}

// StartService is Process for one service, whose health is asked at URL.
func StartService(t testing.TB, env map[string]string, name string) *Process {
	t.Helper()
	return NewService(t, name, Build(t), env, name).Start()
}

// NewService is NewProcess for a service (ingest, dispatcher or sender), which
// gets an address for its health routes unless the environment has one.
func NewService(t testing.TB, name, path string, env map[string]string, service string) *Process {
	t.Helper()
	key := "HEALTH_ADDR"
	if service == "ingest" {
		key = "HTTP_ADDR"
	}
	if env[key] == "" {
		env = with(env, key, embeddedtest.FreeAddr(t))
	}
	p := NewProcess(t, name, path, env, service)
	p.URL = "http://" + env[key]
	return p
}

// NewProcess is a program that is not yet started.
func NewProcess(t testing.TB, name, path string, env map[string]string, args ...string) *Process {
	t.Helper()
	output, dir := &embeddedtest.Output{}, t.TempDir()
	return newProcess(t, name, output, func(context.Context) (server, error) {
		environment := []string{"PATH=" + os.Getenv("PATH")}
		for name, value := range env {
			environment = append(environment, name+"="+value)
		}
		return process.Start(process.Config{
			Path: path, Args: args, Env: environment, Dir: dir, Output: output, Grace: WaitTimeout,
		})
	})
}
