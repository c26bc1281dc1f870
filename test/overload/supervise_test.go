package overload_test

import (
	"sync/atomic"
	"time"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// restarts counts what a supervisor does.
type restarts struct{ begun, done atomic.Int64 }

func (r *restarts) tried() int64 { return r.begun.Load() }

// supervise starts a process again whenever it has ended, as an orchestrator
// does, until the test ends.
func (i *installation) supervise(u *testenv.Process) *restarts {
	r, over := &restarts{}, make(chan struct{})
	i.t.Cleanup(func() { close(over) })
	ended := func() bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	}
	go func() {
		for {
			u.Wait()
			if ended() {
				return
			}
			r.begun.Add(1)
			u.Kill() // tidies up
			for u.TryStart() != nil {
				select {
				case <-over:
					return
				case <-time.After(500 * time.Millisecond):
				}
			}
			r.done.Add(1)
		}
	}()
	return r
}
