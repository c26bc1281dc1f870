package legacyimport

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/message-dispatcher/dispatch/internal/cli/input"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

func TestARowIsTakenAsItIsOrRejected(t *testing.T) {
	t.Parallel()
	row := func(to, content string) sourceRow {
		return sourceRow{id: "1", to: &to, content: &content, createdAt: pgtype.Timestamptz{Time: time.Unix(1, 0), Valid: true}}
	}
	rules := message.Rules{
		MaxContentLength: 100,
		Destinations:     map[string]message.RecipientKind{message.DefaultDestination: message.RecipientPhone},
	}
	for _, tt := range []struct {
		row     sourceRow
		country string
		to      string // empty: it is rejected
		field   string
		text    string
	}{
		{row("905551111111", "a"), "", "+905551111111", "", ""},
		{row("05551111111", "a"), "TR", "+905551111111", "", ""},
		{row("905551111111", "a"), "TR", "+905551111111", "", ""},
		{row("05551111111", "a"), "", "", "to", "must be a phone number"},
		{row("9.05555E+11", "a"), "", "", "to", input.RoundedAdvice},
		{row("905551111111", "caf\xe9"), "", "", "content", "is not UTF-8: byte 4 is 0xE9"},
		{row("9055511\xfe", "a"), "TR", "", "to", "is not UTF-8: byte 8 is 0xFE"},
	} {
		r := rowReader{scope: "s", table: "t", rules: rules, numbers: input.PhoneNumbers{Country: tt.country}}
		require.NoError(t, r.numbers.Check())
		m, mistakes := r.read(tt.row)
		if tt.to != "" {
			require.Empty(t, mistakes)
			require.Equal(t, tt.to, m.To)
			continue
		}
		require.Len(t, mistakes, 1)
		require.Equal(t, tt.field, mistakes[0].Field)
		require.Contains(t, mistakes[0].Message, tt.text)
	}
}
