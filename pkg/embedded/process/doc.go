// Package process runs a server as a child process that cannot outlive its parent.
//
// Three processes take part:
//
//	parent ──pipe 1 (gate)──► sh ──exec──► server
//	   └─────pipe 2 (life)──► sh, the watcher: at end of file it stops the server
//
// Only the parent holds the writing ends, so the kernel closes them whatever the parent dies of,
// kill -9 included, on every Unix. The server is not executed before its watcher runs (the gate),
// hence no moment is left in which the parent's death would leave it behind. Linux' Pdeathsig is
// no substitute: it is bound to the thread that forked, and other systems lack it.
//
// Server and watcher lead sessions of their own: a Ctrl-C in the terminal, or the terminal's end,
// reaches the parent alone, which then stops things in its order.
package process
