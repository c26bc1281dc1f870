// Package service holds what all services share: the logger, health checks,
// metrics, the ops HTTP server, retries and loops, and a Group that runs the
// components of a service and stops them in order. Settings are read by package
// settings.
//
// The package does not import Postgres, NATS or Redis. A service passes them in as
// components, stop hooks and health checks.
//
//	main ── Main ── settings.Load ── NewLogger ── Run of the service
//	                                                  │
//	          ┌───────────────────────────────────────┘
//	          ▼
//	  NewGroup ─ ListenOps ─ WaitFor(postgres …) ─ OnStop / Go … ─ Wait
//	                                                                │
//	  a signal arrives, or a component ends by itself ──────────────┤
//	                                                                ▼
//	            the last registered stops first, all under one deadline
package service
