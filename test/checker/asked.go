package checker

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The moves that users ask for.
const (
	Cancel = "cancel"
	Retry  = "retry"
)

// Asked is a move that a user asked for, and what was answered.
type Asked struct {
	Move      string    // Cancel or Retry
	ID        string    // empty: every message that is in one of Statuses
	Statuses  []string  // of a bulk retry
	ExpiresAt time.Time // of a retry; zero: none
	Tried     time.Time
	Answered  time.Time // zero: never, so that it may have happened, or happen later
	Done      bool      // it was answered with a yes; else a no: nothing happened
	Moved     int       // of a bulk retry: how many, at least if it broke off
}

// possible says whether it may have happened by then.
func (a Asked) possible(by time.Time) bool {
	return a.Tried.Before(by) && (a.Answered.IsZero() || a.Done)
}

// about says whether it may have moved a message that was in this state.
func (a Asked) about(id, status string) bool {
	return a.ID == id || a.ID == "" && slices.Contains(a.Statuses, status)
}

// wanted lists what users asked of a message, for its history.
func (j *judge) wanted(id string) []Asked {
	var list []Asked
	for _, a := range j.Asked {
		if a.ID == id || a.ID == "" {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b Asked) int { return cmp.Compare(a.Tried.UnixNano(), b.Tried.UnixNano()) })
	return list
}

func (a Asked) String() string {
	text := a.Move
	if a.ID == "" {
		text = fmt.Sprintf("bulk retry of %v, %d moved", a.Statuses, a.Moved)
	}
	switch {
	case a.Answered.IsZero():
		return text + ": never answered"
	case a.Done:
		return text + ": yes, at " + clock(a.Answered)
	default:
		return text + ": no, at " + clock(a.Answered)
	}
}
