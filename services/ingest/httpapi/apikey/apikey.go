// Package apikey parses API_KEYS and checks keys.
package apikey

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// entry is one entry of API_KEYS. Its name is the namespace of idempotency keys.
// Two keys may have the same name, so that a client can change its key.
type entry struct {
	name string
	hash [sha256.Size]byte

	unnamed bool // it is a key alone
	guessed bool // it is 64 hex digits without hashPrefix, which are taken for the hash
}

// Keys are the keys of API_KEYS.
type Keys []entry

// hashPrefix marks the SHA-256 of a key in hex: a key itself may be 64 hex digits
// too.
const hashPrefix = "sha256:"

var (
	keyNamePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	keyHashPattern = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

// Parse parses API_KEYS. errs are the ends of sentences about the setting. They
// never contain a key.
func Parse(text string) (keys Keys, errs []error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	names := map[[sha256.Size]byte]string{}
	for i, part := range strings.Split(text, ",") {
		e, err := parseEntry(strings.TrimSpace(part))
		if err != nil {
			errs = append(errs, fmt.Errorf("must be a list of name:key, name:sha256hex or key: entry %d %w", i+1, err))
			continue
		}
		if name, known := names[e.hash]; known && name != e.name {
			errs = append(errs, fmt.Errorf("must not give one key to two names: entry %d is the key of %s", i+1, name))
			continue
		}
		names[e.hash] = e.name
		keys = append(keys, e)
	}
	return keys, errs
}

func parseEntry(text string) (entry, error) {
	name, secret, named := strings.Cut(text, ":")
	if !named {
		name, secret = "", text
	}
	if secret == "" {
		return entry{}, fmt.Errorf("has no key")
	}
	if strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return entry{}, fmt.Errorf("holds a space or a character that is not ASCII, which no header carries")
	}
	if !named {
		hash := sha256.Sum256([]byte(secret))
		return entry{name: "key-" + hex.EncodeToString(hash[:4]), hash: hash, unnamed: true}, nil
	}
	if !keyNamePattern.MatchString(name) {
		return entry{}, fmt.Errorf("must have a name of up to 64 letters, digits, '_', '.' and '-'")
	}
	e := entry{name: name, hash: sha256.Sum256([]byte(secret))}
	digest, prefixed := strings.CutPrefix(secret, hashPrefix)
	if prefixed && !keyHashPattern.MatchString(digest) {
		return entry{}, fmt.Errorf("must have 64 hex digits after %s", hashPrefix)
	}
	if keyHashPattern.MatchString(digest) {
		e.guessed = !prefixed
		if _, err := hex.Decode(e.hash[:], []byte(digest)); err != nil {
			return entry{}, fmt.Errorf("has a hash that is not hex")
		}
	}
	return e, nil
}

// Warnings returns a sentence about each entry that may be meant otherwise.
func (k Keys) Warnings() []string {
	var warnings []string
	named := slices.ContainsFunc(k, func(e entry) bool { return !e.unnamed })
	for i, e := range k {
		if e.guessed {
			warnings = append(warnings, fmt.Sprintf("API_KEYS: entry %d (%s) has 64 hex digits, which are taken for the SHA-256 of its key: write %s:%s… to say so; if they are the key itself, make another one", i+1, e.name, e.name, hashPrefix))
		}
		if named && e.unnamed {
			warnings = append(warnings, fmt.Sprintf("API_KEYS: entry %d has no name, and others do: a comma in a key would look like that, and no key can hold one", i+1))
		}
	}
	return warnings
}

// Owner returns the name of a key. Its duration reveals nothing: it compares
// hashes, all of them, each in constant time.
func (k Keys) Owner(key string) (name string, known bool) {
	hash := sha256.Sum256([]byte(key))
	for _, e := range k {
		if subtle.ConstantTimeCompare(e.hash[:], hash[:]) == 1 {
			name, known = e.name, true
		}
	}
	return name, known
}
