package overload_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

// A full disk under Redis: nothing but the copy of the states stands still,
// which the dispatcher says; with room again Redis is exact.
func TestAFullDiskUnderRedis(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	i := install(t, testenv.Options{Redis: true})
	d := i.onDisk(i.Redis.Process, i.Redis.Dir, 16)
	i.Start()
	l := i.load(50 * time.Millisecond)
	i.more(l.answers, http.StatusCreated, 20)

	d.Fill()
	i.awaitHealth(i.dispatcher(), http.StatusOK, "projector", "degraded")
	i.more(l.answers, http.StatusCreated, 20)
	d.Free()
	i.isReady(i.Services()...)
	i.more(l.answers, http.StatusCreated, 20)
	l.stop()
	i.requireOnly(l.answers, http.StatusCreated, http.StatusOK)
	i.settle()
	i.requireMemory(maxMemory, i.Services()...)
}
