package overload_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

// A full disk under dispatch up, whose NATS server is inside the process: it
// says that it does not work, and with room again starts that server again.
func TestAFullDiskUnderDispatchUp(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	data := embeddedtest.Dir(t)
	run(t, "mkdir", filepath.Join(data, "nats"))
	d := newDisk(t, filepath.Join(data, "nats"), 64)
	webhook, listen := testenv.NewWebhook(t), embeddedtest.FreeAddr(t)
	up := testenv.NewProcess(t, "up", testenv.Build(t), map[string]string{
		"DATABASE_URL": testenv.StartPostgres(t, nil).URL, "REDIS_URL": testenv.StartRedis(t).URL, "NATS_LISTEN": embeddedtest.FreeAddr(t),
		"HTTP_ADDR": listen, "WEBHOOK_URL": webhook.URL, "PROCESSING_INTERVAL": "0", "LOG_LEVEL": "warn",
	}, "up", "--data", data)
	up.URL = "http://" + listen
	up.Start().WaitReady()
	i := &installation{t: t}
	post := func(key string) {
		response, err := client.Post(up.URL+"/api/v1/messages", "application/json", strings.NewReader(body(key, "")))
		require.NoError(t, err)
		defer response.Body.Close()
		require.Equal(t, http.StatusCreated, response.StatusCode)
	}
	post("before")
	i.eventually("it arrives", func() bool { return len(webhook.Received("")) == 1 })

	d.Fill()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	posted := 1
	i.eventually("it says that it does not work", func() bool {
		<-tick.C
		post(fmt.Sprintf("meanwhile-%d", posted))
		posted++
		var said health
		code, answer, err := ask(up, "/health/ready")
		return err == nil && json.Unmarshal(answer, &said) == nil && code == http.StatusOK &&
			said.says("outbox", "degraded") && said.says("dispatcher.relay", "degraded")
	})
	d.Free()
	i.eventually("everything arrives", func() bool { return len(webhook.Received("")) == posted })
	i.isReady(up)
	require.NoError(t, up.Terminate())
}
