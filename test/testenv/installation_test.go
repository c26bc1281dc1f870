package testenv_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/test/testenv"
)

func post(t *testing.T, url string) int {
	t.Helper()
	response, err := http.Post(url+"/api/v1/messages", "application/json", strings.NewReader(`{"to":"+905551111111","content":"hello"}`))
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

func awaitCalls(t *testing.T, hook *testenv.Webhook, n int) {
	t.Helper()
	testenv.Eventually(t, func() bool { return len(hook.Received("")) >= n })
}

func TestEverythingCanBeKilledAndComesBackWithItsData(t *testing.T) {
	t.Parallel()
	r := testenv.New(t, testenv.Options{Ingests: 1, Dispatchers: 1, Senders: 1, Redis: true, Proxies: true})
	r.Start()
	require.Equal(t, http.StatusCreated, post(t, r.Proxy("client", "ingest-1").URL))
	awaitCalls(t, r.Webhook, 1)

	for _, u := range r.Processes() {
		pid := u.Pid()
		u.Freeze()
		u.Kill()
		require.False(t, u.Running(), u.Name)
		u.Start()
		require.NotEqual(t, pid, u.Pid(), u.Name)
	}
	for _, u := range r.Services() {
		u.WaitReady()
	}

	require.Equal(t, http.StatusCreated, post(t, r.Ingests[0].URL))
	awaitCalls(t, r.Webhook, 2)
	require.NoError(t, r.Terminate())
	for _, u := range r.Processes() {
		require.NoError(t, u.Err())
	}
}

func TestAFrozenPostgresAnswersNobodyAndGoesOn(t *testing.T) {
	t.Parallel()
	r := testenv.New(t, testenv.Options{Ingests: 1})
	r.Start()
	require.Equal(t, http.StatusCreated, post(t, r.Ingests[0].URL), "a connection is open")

	r.Postgres.Freeze()
	answered := make(chan int, 1)
	go func() { answered <- post(t, r.Ingests[0].URL) }()
	select {
	case status := <-answered:
		require.Equal(t, http.StatusServiceUnavailable, status)
	case <-time.After(500 * time.Millisecond):
		defer func() { <-answered }()
	}
	r.Postgres.Thaw()

	testenv.Eventually(t, func() bool { return post(t, r.Ingests[0].URL) == http.StatusCreated })
}

func TestAClusterOfThree(t *testing.T) {
	t.Parallel()
	r := testenv.New(t, testenv.Options{Ingests: 1, Dispatchers: 1, Senders: 1, NATSNodes: 3, Settings: map[string]string{"NATS_REPLICAS": "3"}})
	r.Start()
	r.NATS[1].Kill()
	require.Equal(t, http.StatusCreated, post(t, r.Ingests[0].URL))
	awaitCalls(t, r.Webhook, 1)
}

// Servers of a cluster dial each other's own addresses when they hear of them.
func TestServersOfAClusterReachEachOtherOnlyThroughProxies(t *testing.T) {
	t.Parallel()
	r := testenv.New(t, testenv.Options{NATSNodes: 3, Proxies: true})
	r.Partition(r.NATS[0])()
}

func TestAnEndOfItsOwnIsNoticed(t *testing.T) {
	t.Parallel()
	u := testenv.NewProcess(t, "false", "/bin/false", nil).Start()
	testenv.Eventually(t, func() bool { return u.Err() != nil })
}
