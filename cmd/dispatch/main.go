// Command dispatch is Message Dispatcher: all of it in one process (up), each
// service by itself, and the commands to talk to them.
package main

import (
	"context"
	"os"

	"github.com/message-dispatcher/dispatch/internal/cli"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

func main() {
	ctx, cancel := service.SignalContext(context.Background())
	code := cli.Execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
}
