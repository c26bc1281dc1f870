package message

import (
	"fmt"
	"strings"
)

// Chart returns docs/states.md: the states and moves as a Mermaid diagram and
// as tables, drawn from Moves.
func Chart() string {
	var b strings.Builder
	b.WriteString("<!-- Drawn from pkg/message/transitions.go by `make generate`; edits here are lost. -->\n\n")
	b.WriteString("# The states of a message\n\n")
	b.WriteString("A message is accepted as " + string(Pending) + ". Every other change of state is one of the moves below; " +
		"the statements that make them are guarded by the states that they leave, so a late worker undoes nothing. " +
		"Each change raises the message's version by one.\n\n")
	drawDiagram(&b)
	drawMoves(&b)
	drawStates(&b)
	return b.String()
}

func drawDiagram(b *strings.Builder) {
	b.WriteString("```mermaid\nstateDiagram-v2\n")
	fmt.Fprintf(b, "    [*] --> %s: accept\n", Pending)
	for _, move := range Transitions() {
		for _, from := range move.From {
			fmt.Fprintf(b, "    %s --> %s: %s\n", from, move.To, move.Name)
		}
	}
	for _, status := range Statuses() {
		if len(movesFrom(status)) == 0 {
			fmt.Fprintf(b, "    %s --> [*]\n", status)
		}
	}
	b.WriteString("```\n\n")
}

func drawMoves(b *strings.Builder) {
	b.WriteString("## The moves\n\n| move | from | to | made by | event |\n|---|---|---|---|---|\n")
	for _, move := range Transitions() {
		from := make([]string, len(move.From))
		for i, status := range move.From {
			from[i] = string(status)
		}
		event := "none"
		if move.Event != "" {
			event = "`" + string(move.Event) + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", move.Name, strings.Join(from, ", "), move.To, move.By, event)
	}
	b.WriteString("\nA 2xx that was recorded wins over every other state: the message has arrived, whatever was decided meanwhile.\n\n")
}

// drawStates draws every state against every move: the table that a test
// tries on a real Postgres.
func drawStates(b *strings.Builder) {
	b.WriteString("## Where each move leads\n\n| state | final |")
	for _, move := range Transitions() {
		b.WriteString(" " + move.Name + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(Transitions())) + "\n")
	for _, status := range Statuses() {
		final := "no"
		if status.Final() {
			final = "yes"
		}
		fmt.Fprintf(b, "| %s | %s |", status, final)
		for _, move := range Transitions() {
			to := "–"
			if move.Allows(status) {
				to = string(move.To)
			}
			b.WriteString(" " + to + " |")
		}
		b.WriteString("\n")
	}
}

// movesFrom lists the moves that lead on from a state.
func movesFrom(s Status) []Transition {
	var moves []Transition
	for _, move := range Transitions() {
		if move.Allows(s) {
			moves = append(moves, move)
		}
	}
	return moves
}
