// Package chaos breaks an installation at random and has the checker judge what
// happened.
//
//	make chaos                        ten minutes, another seed each time
//	make chaos DURATION=1h SEED=7     the disturbances of seed 7, for an hour
//
// Two ingests, three dispatchers and three senders use NATS, Postgres and Redis.
// Each is a process, with proxies between them. Clients submit messages at a
// steady rate, by HTTP and over NATS, and repeat what is not answered. Meanwhile
// processes are killed, frozen and restarted, connections are cut, slowed and
// broken, and the webhook fails, hangs and sends misleading responses.
package chaos
