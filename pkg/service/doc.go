// Package service is what ingest, dispatcher and sender do alike: read their
// configuration, log, answer health probes, show metrics, run a set of
// components and drain them in order.
//
// It knows no Postgres, no NATS and no Redis: what a service talks to comes in
// as a component, a stop hook or a health check.
//
//	main ── Main ── Load config ── NewLogger ── Run of the service
//	                                              │
//	          ┌───────────────────────────────────┘
//	          ▼
//	  NewGroup ─ ListenOps ─ WaitFor(postgres …) ─ OnStop / Go … ─ Wait
//	                                                                │
//	  signal, or a component that ends by itself ───────────────────┤
//	                                                                ▼
//	                 last registered is stopped first, all under one deadline
package service
