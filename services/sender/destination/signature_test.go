package destination

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSignaturesAreThoseOfStandardWebhooks(t *testing.T) {
	t.Parallel()
	// The reference vector that the specification's libraries are tested with.
	keys, err := signingKeys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	const reference = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	at, body := time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)
	require.Equal(t, reference, signature(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body))

	keys, err = signingKeys("whsec_cGxhaW4=, whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	require.Regexp(t, `^v1,[A-Za-z0-9+/=]{44} `+`v1,g0hM9SsE\+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=$`,
		signature(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body), "two while a secret is replaced, the first one first")
}

func TestSecretsThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{
		"whsec_%%%", "whsec_", "a b c", "correct horse", "pass,word", ",password", "password ",
		`"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`, `"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`, "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "plain, whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	} {
		_, err := signingKeys(secret)
		require.Error(t, err, "%q", secret)
		require.NotContains(t, err.Error(), "%%%")
	}
	keys, err := signingKeys("")
	require.NoError(t, err)
	require.Empty(t, keys)

	for _, same := range []string{"pa$$#w'ord\"", "whsec_cGEkJCN3J29yZCI="} {
		keys, err := signingKeys(same)
		require.NoError(t, err)
		require.Equal(t, [][]byte{[]byte("pa$$#w'ord\"")}, keys)
	}
}
