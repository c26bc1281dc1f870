package chaos_test

import (
	"encoding/json"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/test/checker"
	"github.com/message-dispatcher/dispatch/test/testenv"
)

const webhookTimeout = 2 * time.Second

// misbehave answers by a die that is thrown for each message and attempt: the
// same seed gives the same answers.
func misbehave(seed uint64) testenv.Responder {
	return func(call testenv.Call, w http.ResponseWriter, r *http.Request) {
		hash := fnv.New64a()
		_, _ = io.WriteString(hash, keyOf(call)+call.Attempt) // it returns no error
		random := rand.New(rand.NewPCG(seed, hash.Sum64()))
		switch n := random.IntN(100); {
		case n < 6:
			w.WriteHeader(http.StatusInternalServerError)
		case n < 9:
			w.Header().Set("Retry-After", strconv.Itoa(1+random.IntN(3)))
			w.WriteHeader(http.StatusTooManyRequests)
		case n < 11:
			w.WriteHeader(http.StatusBadRequest)
		case n < 12:
			w.WriteHeader(http.StatusGone)
		case n < 15:
			testenv.Hang(call, w, r)
		case n < 18:
			testenv.Break(call, w, r)
		case n < 24:
			testenv.Slowly(time.Duration(random.Int64N(int64(webhookTimeout*5/4))))(call, w, r)
		case n < 30:
			misleadingResponse(random, w)
		default:
			testenv.Accept(call, w, r)
		}
	}
}

// misleadingResponse responds with a 2xx and rubbish.
func misleadingResponse(random *rand.Rand, w http.ResponseWriter) {
	switch random.IntN(4) {
	case 0:
		w.WriteHeader(http.StatusNoContent)
	case 1:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"messageId": `) // who does not read it need not
	case 2:
		_, _ = io.WriteString(w, `{"messageId":{"no":["string"]},"status":"FAILED","error":true}`)
	default:
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, strings.Repeat("<html>\x00\xff", 20_000))
	}
}

// keyOf returns the client's key from the body of a call.
func keyOf(call testenv.Call) string {
	var body struct{ Content string }
	_ = json.Unmarshal(call.Body, &body) // a body that is none has no key, which the checker finds
	return body.Content
}

// requests turns a webhook's record into the checker's.
func requests(hook *testenv.Webhook) []checker.Request {
	calls := hook.Received("")
	list := make([]checker.Request, len(calls))
	for i, c := range calls {
		number, _ := strconv.Atoi(c.Attempt) // 0 is no number of ours
		list[i] = checker.Request{
			Sender: c.Path, ID: c.ID, Key: keyOf(c), Attempt: number,
			Arrived: c.At, Done: c.Done, Status: c.Status, Written: c.Written,
		}
	}
	return list
}
