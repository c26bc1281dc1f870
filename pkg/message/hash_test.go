package message

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Requests of one group ask for the same; those of two groups don't.
func TestBodyHashTellsWhatIsTheSame(t *testing.T) {
	t.Parallel()
	groups := [][]string{
		{
			`{"to":"+14155550100","content":"<x> é 😀"}`,
			"\n{ \"content\" : \"<x> é 😀\",\t\"to\" : \"+14155550100\" }",
			`{"phoneNumber":"+14155550100","content":"<x> é 😀"}`,
			`{"to":"+14155550100","content":"\u003cx> \u00e9 \ud83d\ude00"}`,
			`{"to":"+14155550100","content":"<x> é 😀","idempotencyKey":"k"}`,
			`{"to":"+14155550100","content":"<x> é 😀","payload":null,"metadata":{},"type":null}`,
		},
		{`{"to":"+14155550100","content":"other"}`},
		{`{"to":"+14155550101","content":"<x> é 😀"}`},
		{`{"to":"+14155550100","content":"<x> é 😀","destination":"default"}`}, // before defaults
		{`{"to":"+14155550100","content":"<x> é 😀","priority":5}`, `{"priority":5,"to":"+14155550100","content":"<x> é 😀"}`},
		{`{"to":"+14155550100","content":"<x> é 😀","type":"a"}`},
		{
			`{"to":"+14155550100","content":"x","deliverAt":"2030-02-01T00:00:00Z"}`,
			`{"to":"+14155550100","content":"x","deliverAt":"2030-02-01T01:00:00.000+01:00"}`,
		},
		{`{"to":"+14155550100","content":"x","expiresAt":"2030-02-01T00:00:00Z"}`},
		{`{"to":"+14155550100","content":"x","deliverAt":"2030-02-01T00:00:00.000001Z"}`},
		{
			`{"to":"+14155550100","content":"x","metadata":{"a":"1","b":"2"}}`,
			`{"to":"+14155550100","content":"x","metadata":{"b":"2","\u0061":"1"}}`,
		},
		{`{"to":"+14155550100","content":"x","metadata":{"a":"2","b":"1"}}`},
		{
			`{"to":"+14155550100","payload":{"a":[1,{"c":"é/","d":null}],"b":true}}`,
			`{"to":"+14155550100","payload":{ "b" : true , "\u0061" : [ 1, {"d":null,"c":"\u00e9\/"} ] } }`,
		},
		{`{"to":"+14155550100","payload":{"a":[{"c":"é/","d":null},1],"b":true}}`},
		{`{"to":"+14155550100","payload":{"a":[1.0,{"c":"é/","d":null}],"b":true}}`},
		{`{"to":"+14155550100","payload":{"a":1,"a":2}}`},
		{`{"to":"+14155550100","payload":{"a":2,"a":1}}`},
		{`{"to":"+14155550100","payload":"x"}`},
		{`{"to":"+14155550100","content":"x"}`},
		{`{"to":"+14155550100","payload":[]}`},
		{`{"to":"+14155550100","payload":[[]]}`},
		{`{"to":"+14155550100","payload":null}`},
	}
	groupOf := map[string]int{}
	for i, group := range groups {
		for _, body := range group {
			r := accepted(t, body)
			hash := hex.EncodeToString(r.bodyHash())
			if first, known := groupOf[hash]; known {
				assert.Equal(t, first, i, body)
			}
			groupOf[hash] = i
		}
	}
	assert.Len(t, groupOf, len(groups), "one hash a group")
}

// Hashes are stored: a change of the form would refuse repeats of requests
// from before it.
func TestTheFormOfABodyHashNeverChanges(t *testing.T) {
	t.Parallel()
	r := accepted(t, `{"type":"a.b","to":"+1 415 555 0100","priority":0,"payload":{"z":1e2,"a":["\"\u0001é<"]},"metadata":{"k":"v\\"},
		"expiresAt":"2030-03-01T00:00:00Z","destination":"crm","deliverAt":"2030-02-01T00:00:00.5Z","idempotencyKey":"k"}`)
	form := `{"deliverAt":"2030-02-01T00:00:00.5Z","destination":"crm","expiresAt":"2030-03-01T00:00:00Z",` +
		`"metadata":{"k":"v\\"},"payload":{"a":["\"\u0001é<"],"z":1e2},"priority":0,"to":"+1 415 555 0100","type":"a.b"}`
	assert.Equal(t, form, string(r.appendCanonical(nil)))

	r = accepted(t, `{"to":"+14155550100","content":"x"}`)
	form = `{"content":"x","to":"+14155550100"}`
	assert.Equal(t, form, string(r.appendCanonical(nil)))
	assert.Equal(t, "011aadb3c67ca6ea58c95cc03e395c3b1be44d6609ca5f012c2e4cc518d97592", hex.EncodeToString(r.bodyHash()))
}
