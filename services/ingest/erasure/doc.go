// Package erasure removes all data about a recipient: from the intake stream,
// the messages and attempts, Redis, the outbox and the stream of rejections.
package erasure
