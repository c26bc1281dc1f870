// Command ingest takes messages in over HTTP and NATS, and answers questions
// about them.
package main

import (
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/ingest"
)

func main() { service.Main("ingest", ingest.Run) }
