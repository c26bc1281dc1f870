package cli

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/environment"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/pkg/message"
	"github.com/message-dispatcher/dispatch/pkg/settings"
)

const defaultURL = "http://127.0.0.1:8080"

// apiFlags adds the flags of a command that talks to the API. The function that
// it returns makes the client, once the flags are parsed.
func apiFlags(cmd *cobra.Command) func() *client.Client {
	url := cmd.Flags().String("url", "", "where the API is (default: DISPATCH_URL, else "+defaultURL+"); DISPATCH_API_KEY is the key")
	return func() *client.Client {
		given := environment.Read(cmd)
		return client.New(cmp.Or(*url, given[settings.EnvAPIURL], defaultURL), given[settings.EnvAPIKey])
	}
}

// moment reads a duration from now. The API judges everything else.
func moment(value string) string {
	if d, err := time.ParseDuration(value); err == nil {
		return time.Now().Add(d).UTC().Format(time.RFC3339Nano)
	}
	return value
}

// past reads a duration ago. The API judges everything else.
func past(value string) string {
	if d, err := time.ParseDuration(value); err == nil {
		return time.Now().Add(-d).UTC().Format(time.RFC3339Nano)
	}
	return value
}

// names returns words as strings.
func names[T ~string](words []T) []string {
	texts := make([]string, len(words))
	for i, word := range words {
		texts[i] = string(word)
	}
	return texts
}

func parseID(text string) (message.ID, error) {
	id, err := message.ParseID(text)
	if err != nil {
		return id, exit.Usage(fmt.Errorf("%q is not a message's id: it is a UUID, such as 01932a5c-6a00-7f3e-9b1d-0242ac120002", text))
	}
	return id, nil
}
