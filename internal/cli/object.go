package cli

import (
	"bytes"
	"encoding/json"
)

// object builds a JSON object. Values that are JSON already go in byte for
// byte: a payload is sent on as it is, white space and all.
type object struct{ body bytes.Buffer }

// raw adds a member whose value is JSON.
func (o *object) raw(name string, value []byte) {
	if o.body.Len() > 0 {
		o.body.WriteByte(',')
	}
	o.body.Write(quoted(name))
	o.body.WriteByte(':')
	o.body.Write(value)
}

// text adds a string, unless it is empty.
func (o *object) text(name, value string) {
	if value != "" {
		o.raw(name, quoted(value))
	}
}

// bytes returns the object.
func (o *object) bytes() []byte {
	return append(append([]byte{'{'}, o.body.Bytes()...), '}')
}

func quoted(text string) []byte {
	data, _ := json.Marshal(text) // a string always has a JSON form
	return data
}
