package input

import (
	"bytes"
	"encoding/json"
)

// Object builds a JSON object. Values that are JSON already are copied byte for
// byte, because a payload must be sent exactly as it is.
type Object struct{ body bytes.Buffer }

// Raw adds a member whose value is JSON.
func (o *Object) Raw(name string, value []byte) {
	if o.body.Len() > 0 {
		o.body.WriteByte(',')
	}
	o.body.Write(Quoted(name))
	o.body.WriteByte(':')
	o.body.Write(value)
}

// Text adds a string, unless it is empty.
func (o *Object) Text(name, value string) {
	if value != "" {
		o.Raw(name, Quoted(value))
	}
}

// Bytes returns the object.
func (o *Object) Bytes() []byte {
	return append(append([]byte{'{'}, o.body.Bytes()...), '}')
}

// Quoted returns a text as a JSON string.
func Quoted(text string) []byte {
	data, _ := json.Marshal(text) // a string never fails
	return data
}
