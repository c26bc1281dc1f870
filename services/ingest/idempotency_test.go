package ingest_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestARepeatReturnsTheFirstMessage(t *testing.T) {
	t.Parallel()
	i := start(t)
	first := i.post(hello, "Idempotency-Key", "k-1")

	same := i.send(http.MethodPost, messages, "  {\"content\" : \"hell\\u006f\", \"to\":\"+905551111111\"}\n", "Idempotency-Key", "k-1")
	require.Equal(t, first, same.message(http.StatusOK), "how it is written makes no difference")
	require.Equal(t, "true", same.header.Get("Idempotent-Replayed"))
	require.Equal(t, messages+"/"+first.ID.String(), same.header.Get("Location"))
	inBody := i.send(http.MethodPost, messages, `{"to":"+905551111111","content":"hello","idempotencyKey":"k-1"}`)
	require.Equal(t, first.ID, inBody.message(http.StatusOK).ID, "nor does where the key stands")
	both := i.send(http.MethodPost, messages, `{"to":"+905551111111","content":"hello","idempotencyKey":"k-1"}`, "Idempotency-Key", "k-1")
	require.Equal(t, first.ID, both.message(http.StatusOK).ID)

	for _, other := range []string{
		`{"to":"+905551111111","content":"hello!"}`,
		`{"to":"+905552222222","content":"hello"}`,
		`{"to":"+905551111111","content":"hello","priority":5}`, // the default value, but not the same body
	} {
		i.send(http.MethodPost, messages, other, "Idempotency-Key", "k-1").problem(http.StatusConflict, "idempotency_key_reused")
	}
	require.NotEqual(t, first.ID, i.post(hello, "Idempotency-Key", "K-1").ID)
	without := i.post(hello)
	require.NotEqual(t, without.ID, i.post(hello).ID, "without a key nothing is a repeat")
}

func TestARepeatShowsTheMessageAsItIsNow(t *testing.T) {
	t.Parallel()
	i := start(t)
	id := i.post(hello, "Idempotency-Key", "k").ID.String()
	i.send(http.MethodPost, messages+"/"+id+"/cancel", "").message(http.StatusOK)
	require.Equal(t, message.Cancelled, i.send(http.MethodPost, messages, hello, "Idempotency-Key", "k").message(http.StatusOK).Status)
}

// A client that got no response repeats its request, even if the message has
// expired. If the repeat were rejected, the client would believe that the message
// is lost, although it was stored and perhaps sent.
func TestARepeatOfWhatHasExpiredIsNoMistake(t *testing.T) {
	t.Parallel()
	i := start(t)
	var soon time.Time
	body := func(content, key string) string {
		return fmt.Sprintf(`{"to":"+905551111111","content":%q,"expiresAt":%q,"idempotencyKey":%q}`, content, soon.Format(time.RFC3339Nano), key)
	}
	var first reply
	for left := 200 * time.Millisecond; first.status != http.StatusCreated; left *= 2 { // more for a slow machine
		soon = time.Now().Add(left)
		first = i.send(http.MethodPost, messages, body("hello", "k"))
	}
	<-time.After(time.Until(soon))
	require.Equal(t, first.message(http.StatusCreated).ID, i.send(http.MethodPost, messages, body("hello", "k")).message(http.StatusOK).ID)
	i.send(http.MethodPost, messages, body("other", "k")).problem(http.StatusConflict, "idempotency_key_reused")
	i.send(http.MethodPost, messages, body("hello", "new")).invalidFields("expiresAt out_of_range")
	i.send(http.MethodPost, messages, fmt.Sprintf(`{"to":"+905551111111","content":"hello","expiresAt":%q}`, soon.Format(time.RFC3339Nano))).
		invalidFields("expiresAt out_of_range")

	batch := i.send(http.MethodPost, messages+"/batch", "["+body("hello", "new")+","+body("hello", "k")+"]")
	require.Equal(t, http.StatusOK, batch.status)
	require.Contains(t, string(batch.body), first.message(http.StatusCreated).ID.String(), "the second of the two is there")
}

func TestAnInvalidKeyIsReportedLikeOtherFields(t *testing.T) {
	t.Parallel()
	i := start(t)
	i.send(http.MethodPost, messages, `{"to":"+905551111111","content":"hello","idempotencyKey":"a"}`, "Idempotency-Key", "b").invalidFields("idempotencyKey conflict")
	i.send(http.MethodPost, messages, `{"to":"x"}`, "Idempotency-Key", "\xff").
		invalidFields("to invalid_phone_number", "content required", "Idempotency-Key invalid_character")

	for _, keys := range [][]string{{""}, {"a", "a"}, {"a", "b"}} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.url+messages, http.NoBody)
		require.NoError(t, err)
		request.Header["Idempotency-Key"] = keys
		want := "Idempotency-Key duplicate_field"
		if len(keys) == 1 {
			want = "Idempotency-Key blank"
		}
		i.sendRequest(request, hello).invalidFields(want)
	}
}

// Fifty requests with the same key at the same time store one message.
func TestConcurrentRepeatsStoreOneMessage(t *testing.T) {
	t.Parallel()
	i := start(t)
	for range 5 {
		key := message.NewID(i.post(hello).CreatedAt).String()
		replies := i.together(messages, slices.Repeat([]string{hello}, 50), "Idempotency-Key", key)
		created := 0
		ids := map[message.ID]bool{}
		for _, r := range replies {
			if r.status == http.StatusCreated {
				created++
			}
			ids[r.message(r.status).ID] = true
			require.Contains(t, []int{http.StatusOK, http.StatusCreated}, r.status)
		}
		require.Equal(t, 1, created)
		require.Len(t, ids, 1)
		require.Len(t, i.list("idempotencyKey="+key).Data, 1)
	}
}

// The same keys in opposite orders would deadlock transactions that do not sort
// them.
func TestCrossedKeysDoNotBlockEachOther(t *testing.T) {
	t.Parallel()
	i := start(t)
	item := func(key string) string {
		return `{"to":"+905551111111","content":"hello","idempotencyKey":"` + key + `"}`
	}
	var forth, back string
	for n := range 200 {
		key := string(rune('a'+n%26)) + string(rune('a'+n/26))
		forth += "," + item(key)
		back = "," + item(key) + back
	}
	for range 4 {
		for _, r := range i.together(batches, slices.Repeat([]string{"[" + forth[1:] + "]", "[" + back[1:] + "]"}, 3)) {
			var got struct{ Accepted int }
			r.into(http.StatusOK, &got)
			require.Equal(t, 200, got.Accepted)
		}
	}
	stored := 0
	for query := "limit=100"; ; {
		page := i.list(query)
		stored += len(page.Data)
		if page.NextCursor == nil {
			break
		}
		query = "limit=100&cursor=" + *page.NextCursor
	}
	require.Equal(t, 200, stored)
}
