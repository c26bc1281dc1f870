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

func TestTroubleIsToldNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		trouble := NewTrouble(zap.New(core), "tick")
		trouble.Is(nil)
		for range 25 {
			trouble.Is(errAway)
			<-time.After(time.Second)
		}
		trouble.Is(nil)
		trouble.Is(nil)

		var lines []string
		for _, line := range logs.All() {
			lines = append(lines, line.Message)
		}
		assert.Equal(t, []string{"tick does not work", "tick does not work", "tick does not work", "tick works again"}, lines)
		assert.Equal(t, "dial postgres://***@h: refused", logs.All()[0].ContextMap()["error"])
	})
}

func TestTroubleThatLastsIsSeenInHealth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		trouble, health := NewTrouble(zap.NewNop(), "tick"), NewHealth()
		health.Serving()
		health.Watch("tick", StateDown, trouble)
		state := func() State {
			<-time.After(reportLifetime)
			return health.Report().Checks["tick"].State
		}
		assert.Equal(t, StateOK, state())
		trouble.Is(errors.New("once"))
		assert.Equal(t, StateOK, state(), "a hiccup")
		for range 3 {
			trouble.Is(errors.New("again"))
			<-time.After(2 * time.Second)
		}
		assert.Equal(t, StateDown, state())
		trouble.Is(nil)
		assert.Equal(t, StateOK, state())

		trouble.Is(errors.New("once more"))
		<-time.After(2 * troubleGrace)
		trouble.Is(errors.New("and then nobody tries"))
		assert.Equal(t, StateDown, state())
		<-time.After(troubleMemory)
		assert.Equal(t, StateOK, state())
	})
}
