package message

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMovesLeadBetweenKnownStates(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, move := range Transitions() {
		assert.False(t, names[move.Name], "%s is there twice", move.Name)
		names[move.Name] = true
		assert.NotEmpty(t, move.By, move.Name)
		assert.Contains(t, Statuses(), move.To, move.Name)
		assert.NotEmpty(t, move.From, move.Name)
		assert.Subset(t, Statuses(), move.From, move.Name)
		if move.Event != "" {
			assert.Contains(t, EventTypes(), move.Event, move.Name)
		}
		seen := map[Status]bool{}
		for _, from := range move.From {
			assert.False(t, seen[from], "%s leaves %s twice", move.Name, from)
			seen[from] = true
		}
	}
}

// The state machine as DESIGN gives it, move by move.
func TestTheStateMachine(t *testing.T) {
	t.Parallel()
	allowed := map[Status][]string{
		Pending:   {"emit", "succeed", "expire", "cancel"},
		Queued:    {"succeed", "reschedule", "fail", "expire in flight"},
		Retrying:  {"succeed", "reschedule", "fail", "expire in flight", "cancel"},
		Sent:      nil,
		Failed:    {"succeed", "redrive"},
		Cancelled: {"succeed", "redrive"},
		Expired:   {"succeed", "redrive"},
	}
	assert.Len(t, allowed, len(Statuses()))
	for status, want := range allowed {
		var names []string
		for _, move := range transitionsFrom(status) {
			names = append(names, move.Name)
		}
		assert.Equal(t, want, names, status)
	}
}

func TestARecorded2xxWinsOverEveryOtherState(t *testing.T) {
	t.Parallel()
	for _, status := range Statuses() {
		assert.Equal(t, status != Sent, Succeed.Allows(status), status)
	}
}

// Only a user, or a 2xx that came late, leads out of a final state.
func TestFinalStates(t *testing.T) {
	t.Parallel()
	for _, status := range Statuses() {
		if !status.Final() {
			continue
		}
		for _, move := range transitionsFrom(status) {
			assert.Contains(t, []string{Succeed.Name, Redrive.Name}, move.Name, status)
		}
	}
	assert.Empty(t, transitionsFrom(Sent))
	assert.Equal(t, Pending, Redrive.To)
}

func TestEveryStateCanBeReachedAndCanEnd(t *testing.T) {
	t.Parallel()
	reached := map[Status]bool{Pending: true}
	for range Statuses() {
		for _, move := range Transitions() {
			for _, from := range move.From {
				reached[move.To] = reached[move.To] || reached[from]
			}
		}
	}
	for _, status := range Statuses() {
		assert.True(t, reached[status], status)
		ends := status.Final()
		for _, move := range transitionsFrom(status) {
			ends = ends || move.To.Final()
		}
		assert.True(t, ends, status)
	}
}

func TestParseStatus(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Status{"PENDING": Pending, "sent": Sent, "Retrying": Retrying} {
		status, ok := ParseStatus(text)
		assert.True(t, ok, text)
		assert.Equal(t, want, status)
	}
	for _, text := range []string{"", "done", "SENT ", "ＳＥＮＴ"} {
		_, ok := ParseStatus(text)
		assert.False(t, ok, text)
	}
}
