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

// apiKey is one key of API_KEYS. Its name scopes idempotency keys and tells
// callers apart in the log; two keys under one name are one caller who is
// changing keys.
type apiKey struct {
	name string
	hash [sha256.Size]byte

	bare    bool // it was given without a name
	guessed bool // 64 hex digits without hashMark were taken for the hash
}

type Keys []apiKey

// hashMark says that what follows is the SHA-256 of a key in hex, and not a
// key that looks like one.
const hashMark = "sha256:"

var (
	keyNamePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	keyHashPattern = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

// Parse reads API_KEYS. Its mistakes are the ends of sentences and never
// repeat a key.
func Parse(text string) (keys Keys, mistakes []error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	names := map[[sha256.Size]byte]string{}
	for i, entry := range strings.Split(text, ",") {
		key, err := parseAPIKey(strings.TrimSpace(entry))
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("must be a list of name:key, name:sha256hex or key: entry %d %w", i+1, err))
			continue
		}
		if name, known := names[key.hash]; known && name != key.name {
			mistakes = append(mistakes, fmt.Errorf("must not give one key to two names: entry %d is the key of %s", i+1, name))
			continue
		}
		names[key.hash] = key.name
		keys = append(keys, key)
	}
	return keys, mistakes
}

func parseAPIKey(entry string) (apiKey, error) {
	name, secret, named := strings.Cut(entry, ":")
	if !named {
		name, secret = "", entry
	}
	if secret == "" {
		return apiKey{}, fmt.Errorf("has no key")
	}
	if strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return apiKey{}, fmt.Errorf("holds a space or a character that is not ASCII, which no header carries")
	}
	if !named {
		hash := sha256.Sum256([]byte(secret))
		return apiKey{name: "key-" + hex.EncodeToString(hash[:4]), hash: hash, bare: true}, nil
	}
	if !keyNamePattern.MatchString(name) {
		return apiKey{}, fmt.Errorf("must have a name of up to 64 letters, digits, '_', '.' and '-'")
	}
	key := apiKey{name: name, hash: sha256.Sum256([]byte(secret))}
	digest, marked := strings.CutPrefix(secret, hashMark)
	if marked && !keyHashPattern.MatchString(digest) {
		return apiKey{}, fmt.Errorf("must have 64 hex digits after %s", hashMark)
	}
	if keyHashPattern.MatchString(digest) {
		secret = digest
		key.guessed = !marked
		if _, err := hex.Decode(key.hash[:], []byte(secret)); err != nil {
			return apiKey{}, fmt.Errorf("has a hash that is not hex")
		}
	}
	return key, nil
}

// Warnings tell of keys that may be meant otherwise.
func (k Keys) Warnings() []string {
	var warnings []string
	named := slices.ContainsFunc(k, func(key apiKey) bool { return !key.bare })
	for i, key := range k {
		if key.guessed {
			warnings = append(warnings, fmt.Sprintf("API_KEYS: entry %d (%s) has 64 hex digits, which are taken for the SHA-256 of its key: write %s:%s… to say so; if they are the key itself, make another one", i+1, key.name, key.name, hashMark))
		}
		if named && key.bare {
			warnings = append(warnings, fmt.Sprintf("API_KEYS: entry %d has no name, and others do: a comma in a key would look like that, and no key can hold one", i+1))
		}
	}
	return warnings
}

// Owner returns the name under which a key was given. The time it takes tells
// nothing: hashes are compared, all of them, each in constant time.
func (k Keys) Owner(presented string) (name string, ok bool) {
	hash := sha256.Sum256([]byte(presented))
	for _, key := range k {
		if subtle.ConstantTimeCompare(key.hash[:], hash[:]) == 1 {
			name, ok = key.name, true
		}
	}
	return name, ok
}
