package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// DefaultExternalID is where the external id of a message is if nothing else
// is said: in the member messageId of a JSON object.
const DefaultExternalID = "/messageId"

// ExternalID says where in a webhook's response the receiver's own id of the
// message is: at a JSON Pointer (RFC 6901) into the body, or in a header.
type ExternalID struct {
	header string   // canonical; empty for a pointer
	tokens []string // of the pointer
}

var fieldName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// ParseExternalID reads a JSON Pointer, such as /messages/0/id, or header:NAME.
func ParseExternalID(text string) (ExternalID, error) {
	if name, found := strings.CutPrefix(text, "header:"); found {
		if !fieldName.MatchString(name) {
			return ExternalID{}, fmt.Errorf("%q is not the name of a header", name)
		}
		return ExternalID{header: http.CanonicalHeaderKey(name)}, nil
	}
	rest, found := strings.CutPrefix(text, "/")
	if !found {
		return ExternalID{}, errors.New("must be a JSON Pointer like /messages/0/id, which begins with /, or header:NAME")
	}
	tokens := strings.Split(rest, "/")
	for i, token := range tokens {
		plain := strings.ReplaceAll(strings.ReplaceAll(token, "~0", ""), "~1", "")
		if strings.Contains(plain, "~") {
			return ExternalID{}, errors.New("must write ~ as ~0 and / as ~1 in a member's name (RFC 6901)")
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return ExternalID{tokens: tokens}, nil
}

// String is the text that ParseExternalID reads.
func (e ExternalID) String() string {
	if e.header != "" {
		return "header:" + e.header
	}
	var text strings.Builder
	for _, token := range e.tokens {
		text.WriteString("/" + strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1"))
	}
	return text.String()
}

// Find returns the id as it is written, a string or a number; empty if there
// is none. The body may break off behind it. Invalid UTF-8 becomes U+FFFD.
func (e ExternalID) Find(header http.Header, body []byte) string {
	if e.header != "" {
		return header.Get(e.header)
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	for _, token := range e.tokens {
		if !descend(decoder, token) {
			return ""
		}
	}
	var value json.RawMessage
	if decoder.Decode(&value) != nil || len(value) == 0 {
		return ""
	}
	switch first := value[0]; {
	case first == '"':
		var text string
		_ = json.Unmarshal(value, &text) // the decoder has read it before
		return text
	case first == '-', first >= '0' && first <= '9':
		return string(value)
	}
	return ""
}

// descend moves a decoder, which stands before a value, before the member or
// element that the token names. Of members with the same name the first counts.
func descend(decoder *json.Decoder, token string) bool {
	start, err := decoder.Token()
	if err != nil || start != json.Delim('{') && start != json.Delim('[') {
		return false
	}
	for index := 0; decoder.More(); index++ {
		name := fmt.Sprint(index) // of an element
		if start == json.Delim('{') {
			key, err := decoder.Token()
			if err != nil {
				return false
			}
			name, _ = key.(string)
		}
		if name == token {
			return true
		}
		var skipped json.RawMessage
		if decoder.Decode(&skipped) != nil {
			return false
		}
	}
	return false
}
