// Package crash kills a process at every failpoint (pkg/failpoint). An
// installation of processes runs until its victim dies exactly there, once or
// twice in a row. Then the victim is started again, every message must come to
// its end, and the checker must find nothing wrong.
//
//	scenario_*_test.go    how each failpoint is reached, and by which process
//	installation_test.go  processes, servers, and a client that repeats requests
//	history_test.go       what must hold in the end
package crash
