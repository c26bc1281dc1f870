package migrate

import (
	"context"
	"io/fs"

	"github.com/jackc/pgx/v5/pgxpool"
)

// AdvisoryLock is what a step holds.
const AdvisoryLock int64 = advisoryLock

// Steps are the steps of a test. The released ones may be too few to prove
// what happens between two of them.
type Steps struct{ Files fs.FS }

// Up is the package's Up with these steps.
func (s Steps) Up(ctx context.Context, pool *pgxpool.Pool) error { return steps{s.Files}.up(ctx, pool) }

// Down is the package's Down with these steps.
func (s Steps) Down(ctx context.Context, pool *pgxpool.Pool) error {
	return steps{s.Files}.down(ctx, pool)
}

// Check is the package's Check with these steps.
func (s Steps) Check(ctx context.Context, pool *pgxpool.Pool) error {
	return steps{s.Files}.check(ctx, pool)
}

// LatestVersion is the package's LatestVersion with these steps.
func (s Steps) LatestVersion() int64 { return steps{s.Files}.latest() }

// DownLosesData is the package's DownLosesData with these steps.
func (s Steps) DownLosesData(version int64) bool { return steps{s.Files}.downLosesData(version) }
