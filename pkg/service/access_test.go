package service

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFilesThatLeadIntoServersAreLookedAt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	creds := file("creds", "-----BEGIN NATS USER JWT-----\n")
	nkey := file("nkey", "SUAM\n")
	other := file("other", "x")
	missing := filepath.Join(dir, "missing")
	nats := func(a NATSAccess) NATS {
		a.URL = "nats://a"
		return NATS{NATSAccess: a, Prefix: "dispatch", Replicas: 1}
	}
	for name, c := range map[string]struct {
		access NATSAccess
		want   string // empty: valid
	}{
		"credentials":        {NATSAccess{Creds: creds}, ""},
		"an nkey":            {NATSAccess{NKey: nkey}, ""},
		"a domain":           {NATSAccess{Domain: "hub-1"}, ""},
		"no credentials":     {NATSAccess{Creds: missing}, "can't be read: no such file"},
		"something else":     {NATSAccess{Creds: other}, "must be a file with a user's JWT and seed"},
		"a key in its place": {NATSAccess{NKey: other}, "must be a file with the seed of a user"},
		"two users":          {NATSAccess{Creds: creds, NKey: nkey}, "can't be used with NATS_CREDS"},
		"no authority":       {NATSAccess{CA: other}, "must be a file with PEM certificates"},
		"half a pair":        {NATSAccess{Cert: other}, "NATS_KEY: must be set when NATS_CERT is"},
		"the other half":     {NATSAccess{Key: other}, "NATS_CERT: must be set when NATS_KEY is"},
		"no pair":            {NATSAccess{Cert: other, Key: other}, "can't be used with NATS_KEY"},
		"two words":          {NATSAccess{Domain: "hub.eu"}, "NATS_DOMAIN"},
	} {
		err := nats(c.access).Validate()
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.want, name)
	}
	err := nats(NATSAccess{Creds: missing, CA: other, Cert: other, Domain: "*"}).Validate()
	for _, variable := range []string{"NATS_CREDS", "NATS_CA", "NATS_KEY", "NATS_DOMAIN"} {
		require.ErrorContains(t, err, variable, "every mistake is told")
	}
}
