package apikey

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// 64 hex digits may be a key from "openssl rand -hex 32", or the SHA-256 of one.
func TestAKeyThatLooksLikeAHashCausesAWarning(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("secret"))
	hash := hex.EncodeToString(sum[:])
	for text, want := range map[string][]string{
		"shop:secret":                           nil,
		"secret,other":                          nil,
		"shop:sha256:" + hash:                   nil,
		"shop:sha256:" + strings.ToUpper(hash):  nil,
		"shop:" + hash:                          {"entry 1 (shop) has 64 hex digits"},
		"crm:other,shop:" + hash + ",more":      {"entry 2 (shop) has 64 hex digits", "entry 3 has no name, and others do"},
		"shop:sec,ret":                          {"entry 2 has no name, and others do"},
		"crm:other-secret, shop:sha256:" + hash: nil,
	} {
		keys, errs := Parse(text)
		require.Empty(t, errs, text)
		warnings := keys.Warnings()
		require.Len(t, warnings, len(want), text)
		for i, w := range want {
			require.Contains(t, warnings[i], w)
			require.NotContains(t, warnings[i], hash)
		}
		if strings.Contains(strings.ToLower(text), hash) {
			name, known := keys.Owner("secret")
			require.True(t, known, text)
			require.Equal(t, "shop", name)
			_, known = keys.Owner(hash)
			require.False(t, known, "the hash is not a key")
		}
	}
	_, errs := Parse("shop:sha256:secret")
	require.Len(t, errs, 1)
	require.ErrorContains(t, errs[0], "must have 64 hex digits after sha256:")
}
