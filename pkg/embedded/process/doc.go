// Package process runs a server as a child process that can't outlive its parent.
//
// Three processes take part:
//
//	parent ──pipe 1 (gate)──► sh ──exec──► server
//	   └─────pipe 2 (life)──► sh, the watcher: at end of file it stops the server
//
// Only the parent holds the write ends. The kernel closes them however the parent
// dies, even by kill -9, on every Unix. The gate keeps the server from starting
// before its watcher runs, so the parent's death never leaves a server behind.
// Linux' Pdeathsig is no alternative: it depends on the thread that forked, and
// other systems don't have it.
//
// Server and watcher lead their own sessions. Ctrl-C, or the end of the terminal,
// therefore reaches only the parent, which then stops everything in order.
package process
