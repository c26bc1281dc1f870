package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// asyncAPI is docs/asyncapi.yaml, made strict: nothing may hold a field that
// it does not name. It notes which of its fields were seen. It is safe for
// concurrent use.
type asyncAPI struct {
	document document
	channels map[string]*channel
	schemas  map[string]*jsonschema.Schema // of components

	mu   sync.Mutex
	seen map[string]bool // messages of channels; fields by their schemas' locations
}

// channel is a subject with a meaning, or a kind of answers.
type channel struct {
	name     string
	address  string         // empty: answers
	subjects *regexp.Regexp // what the address stands for
	stream   string
	incoming bool     // others publish on it
	reply    *channel // what a request is answered with
	messages []*described
}

// described is one message of a channel.
type described struct {
	name       string
	headers    *jsonschema.Schema
	payload    *jsonschema.Schema
	isJSON     bool
	mayBeEmpty bool
	examples   []map[string]any
}

// document is a YAML file that can be asked by pointer.
type document map[string]any

func readDocument(path string) (document, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var doc map[string]any // not a document: what is in it would be one too
	err = yaml.Unmarshal(text, &doc)
	return doc, err
}

// get follows a path, and references on the way.
func (d document) get(path ...string) map[string]any {
	node := map[string]any(d)
	for _, name := range path {
		node, _ = node[name].(map[string]any)
		if ref, ok := node["$ref"].(string); ok {
			node = d.get(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return node
}

const asyncAPIFile = "asyncapi.yaml"

// readAsyncAPI reads the description again, with nothing seen.
func readAsyncAPI() (*asyncAPI, error) {
	doc, err := readDocument("../../docs/" + asyncAPIFile)
	if err != nil {
		return nil, err
	}
	for _, schema := range doc.get("components", "schemas") {
		schema := schema.(map[string]any)
		_, says := schema["additionalProperties"]
		if _, named := schema["properties"]; named && !says {
			schema["additionalProperties"] = false
		}
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7) // of which AsyncAPI's schemas are a superset
	compiler.AssertFormat()
	if err := compiler.AddResource(asyncAPIFile, map[string]any(doc)); err != nil {
		return nil, err
	}
	a := &asyncAPI{document: doc, channels: map[string]*channel{}, schemas: map[string]*jsonschema.Schema{}, seen: map[string]bool{}}
	for name := range doc.get("components", "schemas") {
		if a.schemas[name], err = compiler.Compile(asyncAPIFile + "#/components/schemas/" + name); err != nil {
			return nil, err
		}
	}
	for name := range doc.get("channels") {
		if a.channels[name], err = a.readChannel(name, compiler); err != nil {
			return nil, err
		}
	}
	err = a.readOperations()
	return a, err
}

func (a *asyncAPI) readChannel(name string, compiler *jsonschema.Compiler) (*channel, error) {
	node := a.document.get("channels", name)
	c := &channel{name: name}
	c.address, _ = node["address"].(string)
	c.stream, _ = node["x-stream"].(string)
	if c.address != "" {
		c.subjects = regexp.MustCompile("^" + regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(c.address), `[^.]+`) + "$")
		if name == "intake" {
			c.subjects = regexp.MustCompile(`^dispatch\.intake\..+$`) // what can't be a destination is rejected
		}
	}
	for message := range a.document.get("channels", name, "messages") {
		ref := a.document.get("channels", name)["messages"].(map[string]any)[message].(map[string]any)["$ref"].(string)
		m := a.document.get("channels", name, "messages", message)
		d := &described{name: name + "." + message}
		contentType, given := m["contentType"].(string)
		d.isJSON = !given || strings.HasSuffix(contentType, "json")
		d.mayBeEmpty, _ = m["x-may-be-empty"].(bool)
		examples, _ := m["examples"].([]any)
		for _, example := range examples {
			d.examples = append(d.examples, example.(map[string]any))
		}
		var err error
		if d.headers, err = compiler.Compile(asyncAPIFile + ref + "/headers"); err != nil {
			return nil, err
		}
		if d.payload, err = compiler.Compile(asyncAPIFile + ref + "/payload"); err != nil {
			return nil, err
		}
		c.messages = append(c.messages, d)
	}
	return c, nil
}

func (a *asyncAPI) readOperations() error {
	for name, operation := range a.document.get("operations") {
		ref := operation.(map[string]any)["channel"].(map[string]any)["$ref"].(string)
		c := a.channels[strings.TrimPrefix(ref, "#/channels/")]
		if c == nil {
			return fmt.Errorf("operation %s is about no channel: %s", name, ref)
		}
		c.incoming = operation.(map[string]any)["action"] == "receive"
		if reply := a.document.get("operations", name, "reply"); reply != nil {
			c.reply = a.channels[strings.TrimPrefix(reply["channel"].(map[string]any)["$ref"].(string), "#/channels/")]
		}
	}
	return nil
}

// channelOf returns the channel that a subject belongs to, nil for none.
func (a *asyncAPI) channelOf(subject string) *channel {
	for _, c := range a.channels {
		if c.subjects != nil && c.subjects.MatchString(subject) {
			return c
		}
	}
	return nil
}

// check holds a message against those of a channel.
func (a *asyncAPI) check(c *channel, headers map[string][]string, data []byte) error {
	given := make(map[string]any, len(headers))
	for name, values := range headers {
		given[name] = strings.Join(values, ", ")
	}
	var problems []string
	for _, m := range c.messages {
		err := a.checkAs(m, given, data)
		if err == nil {
			return nil
		}
		problems = append(problems, fmt.Sprintf("as %s: %v", m.name, err))
	}
	return errors.New(strings.Join(problems, "\n"))
}

func (a *asyncAPI) checkAs(m *described, headers map[string]any, data []byte) error {
	if err := m.headers.Validate(headers); err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	if err := a.checkPayload(m, data); err != nil {
		return err
	}
	a.note(m.headers, headers)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[m.name] = true
	return nil
}

func (a *asyncAPI) checkPayload(m *described, data []byte) error {
	if !m.isJSON || m.mayBeEmpty && len(data) == 0 {
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	if err := m.payload.Validate(value); err != nil {
		return err
	}
	a.note(m.payload, value)
	return nil
}

// note writes down the fields that a value holds.
func (a *asyncAPI) note(schema *jsonschema.Schema, value any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.walk(schema, value)
}

func (a *asyncAPI) walk(schema *jsonschema.Schema, value any) {
	if schema == nil {
		return
	}
	a.walk(schema.Ref, value)
	for _, part := range slices.Concat(schema.AllOf, schema.AnyOf, schema.OneOf) {
		a.walk(part, value)
	}
	switch value := value.(type) {
	case []any:
		items, _ := schema.Items.(*jsonschema.Schema)
		for _, item := range value {
			a.walk(items, item)
		}
	case map[string]any:
		for name, field := range value {
			if of := schema.Properties[name]; of != nil {
				a.seen[schema.Location+" "+name] = true
				a.walk(of, field)
			}
		}
	}
}

// unseen lists the messages and fields that only the description knows.
func (a *asyncAPI) unseen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var missing []string
	for name, schema := range a.schemas {
		for field := range schema.Properties {
			if !a.seen[schema.Location+" "+field] {
				missing = append(missing, name+"."+field)
			}
		}
	}
	for _, c := range a.channels {
		for _, m := range c.messages {
			if !a.seen[m.name] {
				missing = append(missing, m.name)
			}
		}
	}
	slices.Sort(missing)
	return missing
}
