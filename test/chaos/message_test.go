package chaos_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// draft is a message as a client hands it in: the same at every try.
type draft struct {
	key, via             string
	body                 []byte
	deliverAt, expiresAt time.Time // zero: at once, and never
}

func single(n int, random *rand.Rand) []draft {
	return []draft{plainDraft([]string{"http", "nats"}[n%2], n, random)}
}

// several are the messages of one request.
func several(via string, n int, random *rand.Rand) []draft {
	list := make([]draft, 2+random.IntN(5))
	for i := range list {
		list[i] = newDraft(via, n, i, random)
	}
	return list
}

// fields are what a body has; those that are nil are left out.
type fields struct {
	To             string          `json:"to"`
	Content        string          `json:"content,omitempty"`
	Payload        json.RawMessage `json:"payload,omitempty"`
	Priority       *int            `json:"priority,omitempty"`
	DeliverAt      *time.Time      `json:"deliverAt,omitempty"`
	ExpiresAt      *time.Time      `json:"expiresAt,omitempty"`
	IdempotencyKey string          `json:"idempotencyKey"`
}

func (f fields) draft(via string) draft {
	body, err := json.Marshal(f)
	if err != nil {
		panic(err) // it is made of what JSON has
	}
	d := draft{key: f.IdempotencyKey, via: via, body: body}
	if f.DeliverAt != nil {
		d.deliverAt = *f.DeliverAt
	}
	if f.ExpiresAt != nil {
		d.expiresAt = *f.ExpiresAt
	}
	return d
}

const recipient = "+905551111111"

// plainDraft is due at once.
func plainDraft(via string, n int, _ *rand.Rand) draft {
	key := fmt.Sprintf("%s-%d", via, n)
	return fields{To: recipient, Content: key, IdempotencyKey: key}.draft(via)
}

// newDraft draws one: some are due later, some expire soon, and some of those
// for certain before the pace lets them out.
func newDraft(via string, n, place int, random *rand.Rand) draft {
	key := fmt.Sprintf("%s-%d-%d", via, n, place)
	f := fields{To: recipient, Content: key, IdempotencyKey: key}
	if random.IntN(10) == 0 {
		f.Content, f.Payload = "", fmt.Appendf(nil, `{"content":%q,"more":[1,null,{}]}`, key)
	}
	if random.IntN(3) == 0 {
		priority := random.IntN(10)
		f.Priority = &priority
	}
	// To the microsecond, which is what is kept.
	now := time.Now().UTC().Truncate(time.Microsecond)
	later := now
	if random.IntN(8) == 0 {
		later = now.Add(500*time.Millisecond + time.Duration(random.Int64N(int64(8*time.Second))))
		f.DeliverAt = &later
	}
	if random.IntN(10) == 0 {
		end := later.Add(200*time.Millisecond + time.Duration(random.Int64N(int64(6*time.Second))))
		f.ExpiresAt = &end
	}
	return f.draft(via)
}
