// Command dispatcher runs one dispatcher.
package main

import (
	"github.com/message-dispatcher/dispatch/pkg/service"
	"github.com/message-dispatcher/dispatch/services/dispatcher"
)

func main() { service.Main("dispatcher", dispatcher.Run) }
