// Package rig sets up one installation made of real processes, and breaks it:
// the dispatch program as often as wanted, NATS, Postgres and Redis, each of
// which can be killed, frozen, ended and started again on the same data, and
// the ways between them, which can be cut, slowed and torn.
//
//	r := rig.New(t, rig.Options{Ingests: 2, Dispatchers: 3, Senders: 3, Redis: true, Links: true})
//	r.Start()
//	r.Postgres.Kill()
//	r.Senders[0].Freeze()
//	r.Link("sender-1", "nats").Reset()
//
// It is for tests alone. Whatever is started ends with the test, or with the
// test process, whatever that dies of.
package testenv
