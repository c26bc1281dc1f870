package service

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestFailuresAreLoggedNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		tracker := NewFailureTracker(zap.New(core), "tick")
		tracker.Report(nil)
		for range 25 {
			tracker.Report(errAway)
			<-time.After(time.Second)
		}
		tracker.Report(nil)
		tracker.Report(nil)

		var lines []string
		for _, line := range logs.All() {
			lines = append(lines, line.Message)
		}
		assert.Equal(t, []string{"tick does not work", "tick does not work", "tick does not work", "tick works again"}, lines)
		assert.Equal(t, "dial postgres://***@h: refused", logs.All()[0].ContextMap()["error"])
	})
}

func TestFailuresThatLastAreSeenInHealth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tracker, health := NewFailureTracker(zap.NewNop(), "tick"), NewHealth()
		health.Serving()
		health.Watch("tick", StateDown, tracker)
		state := func() State {
			<-time.After(reportLifetime)
			return health.Report().Checks["tick"].State
		}
		assert.Equal(t, StateOK, state())
		tracker.Report(errors.New("once"))
		assert.Equal(t, StateOK, state(), "a hiccup")
		for range 3 {
			tracker.Report(errors.New("again"))
			<-time.After(2 * time.Second)
		}
		assert.Equal(t, StateDown, state())
		tracker.Report(nil)
		assert.Equal(t, StateOK, state())

		tracker.Report(errors.New("once more"))
		<-time.After(2 * failureGrace)
		tracker.Report(errors.New("and then nobody tries"))
		assert.Equal(t, StateDown, state())
		<-time.After(failureMemory)
		assert.Equal(t, StateOK, state())
	})
}
