package chaos_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/message-dispatcher/dispatch/test/checker"
)

// What users ask of messages that are there: each request is made once, and
// what is not answered may have happened.

// cancelOne calls one of the newest messages back, which may be too late.
func (c *clients) cancelOne(random *rand.Rand) {
	if ids := c.history.AcceptedIDs(30); len(ids) > 0 {
		c.cancel(ids[random.IntN(len(ids))], random)
	}
}

func (c *clients) cancel(id string, random *rand.Rand) {
	answered := c.history.BeginUserRequest(checker.UserRequest{Action: checker.Cancel, ID: id})
	if status, _ := c.transition(id, "cancel", nil, random); certain(status) {
		answered(status == http.StatusOK, 0)
	}
}

// transition asks for a transition by HTTP or over NATS. The status is 0 without an answer.
func (c *clients) transition(id, verb string, expiresAt *time.Time, random *rand.Rand) (status int, data []byte) {
	if random.IntN(2) == 0 {
		return c.ask(verb, transitionBody(id, expiresAt))
	}
	return c.call("/api/v1/messages/"+id+"/"+verb, transitionBody("", expiresAt), random)
}

func transitionBody(id string, expiresAt *time.Time) []byte {
	body, err := json.Marshal(struct {
		ID        string     `json:"id,omitempty"`
		ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	}{id, expiresAt})
	if err != nil {
		panic(err) // it is made of what JSON has
	}
	return body
}

// call makes a POST to one of the ingests and reads the whole answer.
func (c *clients) call(path string, body []byte, random *rand.Rand) (status int, data []byte) {
	response := c.send(http.MethodPost, c.api(random.IntN(len(c.apis)))+path, "application/json", body)
	if response == nil {
		return 0, nil
	}
	defer response.Body.Close()
	var raw json.RawMessage
	if json.NewDecoder(response.Body).Decode(&raw) != nil {
		return 0, nil
	}
	return response.StatusCode, raw
}

// certain says whether a status says what happened. A 503 may hide a commit
// whose answer was lost.
func certain(status int) bool { return status >= 200 && status < 500 }

// redriveOne looks for a message that has ended, and redrives it.
func (c *clients) redriveOne(random *rand.Rand) {
	ended := []string{"FAILED", "CANCELLED", "EXPIRED"}[random.IntN(3)]
	response, err := c.http.Get(c.api(random.IntN(len(c.apis))) + "/api/v1/messages?limit=20&status=" + ended)
	if err != nil {
		return
	}
	defer response.Body.Close()
	var page struct{ Data []struct{ ID string } }
	if json.NewDecoder(response.Body).Decode(&page) != nil || len(page.Data) == 0 {
		return
	}
	asked := checker.UserRequest{Action: checker.Redrive, ID: page.Data[random.IntN(len(page.Data))].ID}
	var expiresAt *time.Time
	if random.IntN(4) == 0 {
		asked.ExpiresAt = time.Now().UTC().Truncate(time.Microsecond).Add(time.Second + time.Duration(random.Int64N(int64(10*time.Second))))
		expiresAt = &asked.ExpiresAt
	}
	answered := c.history.BeginUserRequest(asked)
	if status, _ := c.transition(asked.ID, "retry", expiresAt, random); certain(status) {
		answered(status == http.StatusOK, 0)
	}
}

// redriveMany redrives all messages that have ended in some ways.
func (c *clients) redriveMany(random *rand.Rand) {
	statuses := []string{"FAILED", "CANCELLED", "EXPIRED"}[random.IntN(3):]
	answered := c.history.BeginUserRequest(checker.UserRequest{Action: checker.Redrive, Statuses: statuses})
	body := fmt.Appendf(nil, `{"status":["%s"]}`, strings.Join(statuses, `","`))
	status, data := c.call("/api/v1/messages/retry", body, random)
	var op struct{ Retried int }
	if !certain(status) || json.Unmarshal(data, &op) != nil {
		return
	}
	answered(status == http.StatusOK, op.Retried)
}

// replace hands in another message under a key that is taken.
func (c *clients) replace(random *rand.Rand) {
	op := c.history.LastOp("http", random.IntN(20))
	if op.Accepted.IsZero() {
		return
	}
	other := fields{To: recipient, Content: "another than " + op.Key, IdempotencyKey: op.Key}.draft("http")
	if c.post(other, random.IntN(2)).result == accepted {
		c.history.Replace(op.Key)
	}
}
