package e2e_test

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/db"
)

// browser is a tab of a headless Chromium of the test's own.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	requests []string // whatever the page asked for
	errors   []string // what it complained about
}

// browsers are the names under which scripts/deps knows a Chromium.
var browsers = []string{
	"chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
	"/Applications/Chromium.app/Contents/MacOS/Chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	var program string
	for _, name := range browsers {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	require.NotEmpty(t, program, "no Chromium: make deps installs one")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.DisableGPU, chromedp.WindowSize(1280, 1024),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true),
		chromedp.WSURLReadTimeout(waitTimeout),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses root otherwise
	}
	b := &browser{t: t}
	ctx, cancel := context.WithTimeout(context.Background(), 5*waitTimeout)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	b.ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(b.noted))
	t.Cleanup(cancel)
	return b
}

func (b *browser) noted(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			b.errors = append(b.errors, "console: "+string(e.Args[0].Value))
		}
	case *runtime.EventExceptionThrown:
		b.errors = append(b.errors, "exception: "+e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			b.errors = append(b.errors, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

// complaints returns what the page has complained about so far.
func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.errors...)
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, steps...))
}

// wanted are the colours that the system of the browser has.
func wanted(colours string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}},
		})
		return err
	})
}

// onPage is what the scripts below share: the reader's parts are in shadow
// roots, and each operation has an api-request of its own.
const onPage = `
const reader = document.querySelector('rapi-doc')
const root = reader.shadowRoot
const requests = () => [...root.querySelectorAll('api-request')]
const named = name => requests().find(r => r.method + ' ' + r.path === name)
const until = async (what) => { for (;;) { const got = what(); if (got) return got; await new Promise(next => setTimeout(next, 100)) } }
const change = (input, value) => { input.value = value; input.dispatchEvent(new Event('input', { bubbles: true })); input.dispatchEvent(new Event('change', { bubbles: true })) }
const attempt = async (name) => {
	const request = await until(() => named(name)), inner = request.shadowRoot
	request.responseMessage = '' // what an earlier attempt has left
	await request.updateComplete
	inner.querySelector('[part~="btn-try"]').click()
	const [, status] = await until(() => inner.textContent.match(/Response Status: \D*(\d+)/))
	await until(() => !inner.textContent.includes('⌛'))
	return status
}
`

// script runs JavaScript on the page and returns its result.
func script[T any](b *browser, body string) T {
	b.t.Helper()
	result, err := chromedp.Run(b.ctx, chromedp.Evaluate[T]("(async () => {"+onPage+body+"})()", chromedp.EvalAwaitPromise))
	require.NoError(b.t, err, "%s\n%v", body, b.complaints())
	return result
}

// operationsOf lists every operation of the description as "method /path".
func operationsOf(t *testing.T, api *runningService) []string {
	t.Helper()
	_, _, text := api.request(t, "GET", "/openapi.yaml", "")
	doc, err := openapi3.NewLoader().LoadFromData(text)
	require.NoError(t, err)
	var names []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			names = append(names, strings.ToLower(method)+" "+path)
		}
	}
	return names
}

// TestThePageInABrowser reads /docs as a person does, with a key and without,
// and tries operations from it.
func TestThePageInABrowser(t *testing.T) {
	t.Parallel()
	w := newPipeline(t)
	api := w.runIngest("API_KEYS", "shop:a-key")
	w.runDispatcher()
	b := newBrowser(t)

	b.do(wanted("light"), chromedp.Navigate(api.url+"/docs"))
	operations := operationsOf(t, api)
	shown := script[[]string](b, `await until(() => requests().length >= 1); await until(() => requests().every(r => r.shadowRoot.querySelector('[part~="btn-try"]')))
		return requests().filter(r => r.shadowRoot.textContent.includes('REQUEST')).map(r => r.method + ' ' + r.path)`)
	require.ElementsMatch(t, operations, shown)
	require.Equal(t, len(operations), script[int](b, `return (await until(() => { const all = [...root.querySelectorAll('api-response')].filter(r => r.shadowRoot.textContent.includes('200')); return all.length === requests().length && all })).length`))
	require.Empty(t, b.complaints())

	// No filter is filled in: a list would find nothing.
	require.Empty(t, script[[]string](b, `return [...named('get /api/v1/messages').shadowRoot.querySelectorAll('[data-pname]')].map(e => String(e.value ?? '')).filter(v => v !== '')`))

	require.Equal(t, "401", script[string](b, `return attempt('post /api/v1/messages')`))
	require.Contains(t, script[string](b, `return named('post /api/v1/messages').shadowRoot.textContent`), "send a key as Authorization")
	script[bool](b, `const row = root.querySelector('#security-scheme-bearer'); change(row.querySelector('input'), 'a-key'); row.querySelector('button').click(); return true`)
	require.Equal(t, "201", script[string](b, `return attempt('post /api/v1/messages')`))
	stored, err := w.store.List(t.Context(), db.Filter{Limit: 2})
	require.NoError(t, err)
	require.Len(t, stored, 1)
	require.Equal(t, "Your code is 4711", stored[0].Content)
	require.Equal(t, "200", script[string](b, `return attempt('get /api/v1/messages')`))
	require.Contains(t, script[string](b, `return named('get /api/v1/messages').shadowRoot.textContent`), stored[0].ID.String())
	require.Equal(t, "200", script[string](b, `return attempt('post /api/v1/messaging/stop')`))

	// On a telephone, in the dark.
	b.do(wanted("dark"), chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	require.Equal(t, "dark", script[string](b, `return until(() => reader.getAttribute('theme') === 'dark' && 'dark')`))
	require.Zero(t, script[int](b, `const main = root.querySelector('.main-content'); await until(() => main.clientWidth <= 390); return main.scrollWidth - main.clientWidth`), "nothing sticks out")

	for _, address := range b.requests {
		to, err := url.Parse(address)
		require.NoError(t, err)
		require.True(t, to.Scheme == "data" || "http://"+to.Host == api.url, "the page asks for %s", address)
	}
	complaints := b.complaints()
	require.Len(t, complaints, 1, "%v", complaints)
	require.Contains(t, complaints[0], "401", "that no key was sent is all there is to complain about")
}
