// Package crash holds the test of every failpoint (pkg/failpoint): a small
// installation of processes whose victim is killed exactly there, once and
// twice in a row. Then everything is started again, and the books must balance.
//
//	scenario_*_test.go   how each point is passed, and by what
//	installation_test.go processes, servers and a client that repeats itself
//	books_test.go        what must hold in the end
package crash
