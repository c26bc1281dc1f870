// Package chaos breaks an installation at random for as long as one likes, and
// has the ledger judge what came of it. Everything is in its tests:
//
//	make chaos                        ten minutes, another seed each time
//	make chaos DURATION=1h SEED=7     the disturbances of seed 7, for an hour
//
// Two ingests, three dispatchers and three senders work with NATS, Postgres
// and Redis, each a process of its own with links in between. Clients hand in
// messages at a steady rate, by HTTP and by publishing to NATS, and repeat
// what is not answered. Meanwhile processes are killed, frozen and restarted,
// links are cut, slowed and torn, and the webhook fails, hangs and lies.
package chaos
