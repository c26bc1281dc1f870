package message

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

//go:generate go test . -run ^TestChart$ -update

var update = flag.Bool("update", false, "write docs/states.md anew")

func TestChart(t *testing.T) {
	const file = "../../docs/states.md"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(Chart()), 0o644))
	}
	drawn, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, Chart(), string(drawn), "docs/states.md differs from the table of moves; run make generate")
}
