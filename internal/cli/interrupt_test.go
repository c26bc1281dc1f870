package cli

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
)

// Nobody writes to the pipe: the command ends all the same.
func TestASignalEndsACommandThatWaitsForItsInput(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"send", "--file", "-", "--url", unused},
		{"send", "--file", "-", "--format", "csv", "--url", unused},
		{"send", "+905551111111", "--payload", "-", "--url", unused},
	} {
		in, writer := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		var out, errOut embeddedtest.Output
		code := make(chan int)
		go func() { code <- Execute(ctx, args, in, &out, &errOut) }()
		_, err := writer.Write([]byte("to")) // it reads
		require.NoError(t, err)
		cancel()
		require.NotZero(t, <-code, args)
		require.Contains(t, errOut.String(), "interrupted", args)
		require.NoError(t, writer.Close())
	}
}
