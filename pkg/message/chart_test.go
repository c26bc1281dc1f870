package message

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

//go:generate go test . -run ^TestChart$ -update

var update = flag.Bool("update", false, "write docs/states.md")

// TestChart compares docs/states.md with the chart of the transition table.
func TestChart(t *testing.T) {
	t.Parallel()
	const file = "../../docs/states.md"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(chart()), 0o644))
	}
	drawn, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, chart(), string(drawn), "docs/states.md differs from the transition table; run make generate")
}

// chart returns docs/states.md: the states and transitions as a Mermaid diagram
// and as tables, drawn from Transitions.
func chart() string {
	var b strings.Builder
	b.WriteString("<!-- Drawn from pkg/message/transitions.go by `make generate`; edits here are lost. -->\n\n")
	b.WriteString("# The states of a message\n\n")
	b.WriteString("A message is accepted as " + string(Pending) + ". Every other change of state is one of the transitions below. " +
		"The SQL of each one is guarded by the states that it leaves, so a late worker undoes nothing. " +
		"Each change raises the message's version by one.\n\n")
	drawDiagram(&b)
	drawTransitions(&b)
	drawStates(&b)
	return b.String()
}

func drawDiagram(b *strings.Builder) {
	b.WriteString("```mermaid\nstateDiagram-v2\n")
	fmt.Fprintf(b, "    [*] --> %s: accept\n", Pending)
	for _, transition := range Transitions() {
		for _, from := range transition.From {
			fmt.Fprintf(b, "    %s --> %s: %s\n", from, transition.To, transition.Name)
		}
	}
	for _, status := range Statuses() {
		if len(transitionsFrom(status)) == 0 {
			fmt.Fprintf(b, "    %s --> [*]\n", status)
		}
	}
	b.WriteString("```\n\n")
}

func drawTransitions(b *strings.Builder) {
	b.WriteString("## The transitions\n\n| transition | from | to | made by | event |\n|---|---|---|---|---|\n")
	for _, transition := range Transitions() {
		from := make([]string, len(transition.From))
		for i, status := range transition.From {
			from[i] = string(status)
		}
		event := "none"
		if transition.Event != "" {
			event = "`" + string(transition.Event) + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", transition.Name, strings.Join(from, ", "), transition.To, transition.By, event)
	}
	b.WriteString("\nA recorded 2xx wins over every other state, because the message has arrived, whatever was decided meanwhile.\n\n")
}

// drawStates draws every state against every transition. A test tries this table
// on a real Postgres.
func drawStates(b *strings.Builder) {
	b.WriteString("## Where each transition leads\n\n| state | final |")
	for _, transition := range Transitions() {
		b.WriteString(" " + transition.Name + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(Transitions())) + "\n")
	for _, status := range Statuses() {
		final := "no"
		if status.Final() {
			final = "yes"
		}
		fmt.Fprintf(b, "| %s | %s |", status, final)
		for _, transition := range Transitions() {
			to := "–"
			if transition.Allows(status) {
				to = string(transition.To)
			}
			b.WriteString(" " + to + " |")
		}
		b.WriteString("\n")
	}
}

// transitionsFrom lists the transitions that lead on from a state.
func transitionsFrom(s Status) []Transition {
	var list []Transition
	for _, transition := range Transitions() {
		if transition.Allows(s) {
			list = append(list, transition)
		}
	}
	return list
}
