package recorder

import (
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errAway = errors.New("connection refused")

func TestBadDataIsSplitUntilItIsFound(t *testing.T) {
	t.Parallel()
	bad := []int{3, 4, 7}
	var stored, refused []int
	store := func(values []int) error {
		if slices.ContainsFunc(values, func(v int) bool { return slices.Contains(bad, v) }) {
			return &pgconn.PgError{Code: "22021"}
		}
		stored = append(stored, values...)
		return nil
	}

	err := splitBadData([]int{1, 2, 3, 4, 5, 6, 7}, store, func(v int, err error) {
		require.Error(t, err)
		refused = append(refused, v)
	})

	require.NoError(t, err)
	assert.Equal(t, []int{1, 2, 5, 6}, stored, "in their order")
	assert.Equal(t, bad, refused)
}

func TestAnotherErrorEndsTheSplitting(t *testing.T) {
	t.Parallel()
	var tried [][]int
	store := func(values []int) error {
		tried = append(tried, values)
		if len(values) > 2 {
			return &pgconn.PgError{Code: "22021"}
		}
		return errAway
	}

	err := splitBadData([]int{1, 2, 3, 4}, store, func(int, error) { t.Error("nothing was refused") })

	require.ErrorIs(t, err, errAway)
	assert.Equal(t, [][]int{{1, 2, 3, 4}, {1, 2}}, tried, "the values after the error are left out")
	require.NoError(t, splitBadData(nil, store, func(int, error) {}))
}
