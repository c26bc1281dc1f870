package checker

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The moves that users ask for.
const (
	Cancel  = "cancel"
	Redrive = "retry"
)

// UserRequest is a move that a user asked for, and what was answered.
type UserRequest struct {
	Action    string    // Cancel or Retry
	ID        string    // empty: every message that is in one of Statuses
	Statuses  []string  // of a bulk retry
	ExpiresAt time.Time // of a retry; zero: none
	Sent      time.Time
	Answered  time.Time // zero: never, so that it may have happened, or happen later
	OK        bool      // it was answered with a yes; else a no: nothing happened
	Count     int       // of a bulk retry: how many, at least if it broke off
}

// possible says whether it may have happened by then.
func (a UserRequest) possible(by time.Time) bool {
	return a.Sent.Before(by) && (a.Answered.IsZero() || a.OK)
}

// about says whether it may have moved a message that was in this state.
func (a UserRequest) about(id, status string) bool {
	return a.ID == id || a.ID == "" && slices.Contains(a.Statuses, status)
}

// userRequestsOf lists what users asked of a message, for its history.
func (j *judge) userRequestsOf(id string) []UserRequest {
	var list []UserRequest
	for _, a := range j.UserRequests {
		if a.ID == id || a.ID == "" {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b UserRequest) int { return cmp.Compare(a.Sent.UnixNano(), b.Sent.UnixNano()) })
	return list
}

func (a UserRequest) String() string {
	text := a.Action
	if a.ID == "" {
		text = fmt.Sprintf("bulk retry of %v, %d moved", a.Statuses, a.Count)
	}
	switch {
	case a.Answered.IsZero():
		return text + ": never answered"
	case a.OK:
		return text + ": yes, at " + clock(a.Answered)
	default:
		return text + ": no, at " + clock(a.Answered)
	}
}
