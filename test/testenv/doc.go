// Package testenv sets up an installation of real processes and breaks it. It
// starts the dispatch program, NATS, Postgres and Redis, each as often as needed.
// Each process can be killed, frozen, ended and started again on the same data.
// Proxies between them can be cut, slowed and broken.
//
//	i := testenv.New(t, testenv.Options{Ingests: 2, Dispatchers: 3, Senders: 3, Redis: true, Proxies: true})
//	i.Start()
//	i.Postgres.Kill()
//	i.Senders[0].Freeze()
//	i.Proxy("sender-1", "nats").Reset()
//
// Everything that is started ends with the test, or with the test process, even
// if that is killed.
package testenv
