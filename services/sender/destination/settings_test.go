package destination

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHeadersAreOneALine(t *testing.T) {
	t.Parallel()
	header, err := parseHeaders("Authorization: Bearer a:b\n\nX-Tenant:7\\nx-tenant: 8")
	require.NoError(t, err)
	require.Equal(t, "Bearer a:b", header.Get("Authorization"))
	require.Equal(t, []string{"7", "8"}, header["X-Tenant"])
	for _, text := range []string{
		"no colon", "bad name: x", "X: \x01", ": x",
		"idempotency-key: x", "X-Idempotency-Key: x", "webhook-signature: x", "Content-Length: 1", "Host: x",
	} {
		_, err := parseHeaders(text)
		require.Error(t, err, "%q", text)
	}
}
