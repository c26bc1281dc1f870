package cli

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/message-dispatcher/dispatch/internal/up"
	"github.com/message-dispatcher/dispatch/pkg/db/dbtest"
	"github.com/message-dispatcher/dispatch/pkg/embedded/embeddedtest"
	"github.com/message-dispatcher/dispatch/pkg/service"
)

// patience bounds every wait of a test.
const patience = 60 * time.Second

// output gathers what a command prints.
type output = embeddedtest.Output

// ended is a command line that has been run.
type ended struct {
	code        int
	out, errOut string
}

// dispatch runs a command line with nothing on standard input.
func dispatch(t *testing.T, args ...string) ended {
	t.Helper()
	return dispatchWith(t, "", args...)
}

func dispatchWith(t *testing.T, in string, args ...string) ended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errOut output
	code := Execute(ctx, args, strings.NewReader(in), &out, &errOut)
	return ended{code, out.String(), errOut.String()}
}

// ok expects success and returns what was printed.
func (e ended) ok(t *testing.T) string {
	t.Helper()
	require.Equal(t, 0, e.code, "%s%s", e.out, e.errOut)
	return e.out
}

// fails expects an exit code and texts on standard error.
func (e ended) fails(t *testing.T, code int, texts ...string) {
	t.Helper()
	require.Equal(t, code, e.code, "%s%s", e.out, e.errOut)
	for _, text := range texts {
		require.Contains(t, e.errOut, text)
	}
}

// installation is everything in this process: up.Run on a database and
// in a directory of its own, in continuous mode unless told otherwise.
type installation struct {
	url      string
	nats     string
	database string
	webhook  *webhook
}

func startUp(t *testing.T, settings ...string) *installation {
	t.Helper()
	hook := newWebhook(t)
	listen := freeAddr(t)
	i := &installation{nats: "nats://" + listen, database: dbtest.URL(t), webhook: hook}
	env := service.Environment{
		"DATABASE_URL": i.database, "NATS_LISTEN": listen, "HTTP_ADDR": freeAddr(t),
		"WEBHOOK_URL": hook.URL, "PROCESSING_INTERVAL": "0", "MAX_RETRIES": "0",
	}
	for n := 0; n < len(settings); n += 2 {
		env[settings[n]] = settings[n+1]
	}
	cfg, err := up.Parse(env, embeddedtest.Dir(t))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan up.Addresses, 1), make(chan error, 1)
	log := zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel))
	go func() {
		done <- up.Run(ctx, cfg, log, nil, func(at up.Addresses) { ready <- at })
	}()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	select {
	case at := <-ready:
		i.url = at.API
	case err := <-done:
		done <- err
		require.FailNow(t, "it does not start", "%v", err)
	case <-time.After(patience):
		require.FailNow(t, "it does not get ready")
	}
	return i
}

// dispatch runs a command line against the installation's API.
func (i *installation) dispatch(t *testing.T, args ...string) ended {
	t.Helper()
	return dispatch(t, append(args, "--url", i.url)...)
}

// send stores a message and returns its id.
func (i *installation) send(t *testing.T, args ...string) string {
	t.Helper()
	return field(i.dispatch(t, append([]string{"send"}, args...)...).ok(t), "id")
}

// field is the value beside a name in a table.
func field(text, name string) string {
	match := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` +(.*)$`).FindStringSubmatch(text)
	if match == nil {
		return ""
	}
	return match[1]
}

// webhook refuses what asks for it and accepts everything else.
type webhook struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
}

func newWebhook(t *testing.T) *webhook {
	w := &webhook{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(response http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.bodies = append(w.bodies, string(body))
		w.mu.Unlock()
		if strings.Contains(string(body), "refuse me") {
			response.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = response.Write([]byte(`{"messageId":"ext-1"}`))
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *webhook) received() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.bodies...)
}

// freeAddr returns a loopback address that nobody listens on.
func freeAddr(t *testing.T) string { return embeddedtest.FreeAddr(t) }

var (
	anID     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)
	aTime    = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}`)
	aNUID    = regexp.MustCompile(`\b[0-9A-Za-z]{22}\b`)
	aStretch = regexp.MustCompile(`\b\d+[mµ]?s( +)`)
)

// golden replaces what differs from run to run by words of the same length
// where a column depends on it.
func golden(text string) string {
	text = anID.ReplaceAllString(text, "<an id, as long as this word is it>.")
	text = aTime.ReplaceAllString(text, "<date and time, UTC+n>.")
	return aNUID.ReplaceAllString(text, "<instance>")
}

const unused = "http://127.0.0.1:1" // nobody listens on the port of tcpmux
