// Command sender delivers messages to the webhook.
package main

import (
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/sender"
)

func main() { service.Main("sender", sender.Run) }
