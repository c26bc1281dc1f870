package destination

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// secretPrefix marks a secret whose remainder is base64, as in Standard
// Webhooks.
const secretPrefix = "whsec_"

// signingKeys reads one secret, or two while one replaces the other. No text
// means no secret. An ambiguous text is an error, since the receiver would
// reject what is signed with the wrong secret. The error does not repeat the
// text.
func signingKeys(text string) ([][]byte, error) {
	var keys [][]byte
	for secret := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\t' }) {
		encoded, prefixed := strings.CutPrefix(secret, secretPrefix)
		switch {
		case prefixed:
		case strings.Contains(strings.ToLower(secret), secretPrefix):
			return nil, errors.New("must have whsec_ at the beginning of a secret, in lower case and without quotes, or not at all")
		case strings.HasPrefix(secret, "whsk_"), strings.HasPrefix(secret, "whpk_"):
			return nil, errors.New("must be a symmetric secret (whsec_), not a key pair")
		case secret != text:
			return nil, errors.New("must be one secret, and plain text must not hold a blank or a comma: write whsec_ and the base64 of the text, which is the same secret; of two, both are written so")
		default:
			return [][]byte{[]byte(secret)}, nil
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(key) == 0 {
			return nil, errors.New("must be base64 after whsec_")
		}
		keys = append(keys, key)
	}
	if len(keys) > 2 {
		return nil, errors.New("must be one secret, or two while one replaces the other")
	}
	return keys, nil
}

// signature is the webhook-signature header of Standard Webhooks
// (https://www.standardwebhooks.com, "Signature scheme"): one v1 signature per
// key, separated by spaces, each over the id, the timestamp and the body.
func signature(keys [][]byte, id string, at time.Time, body []byte) string {
	signatures := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}
