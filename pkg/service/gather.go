package service

import "context"

// Batch limits what Gather returns at once. The zero value has no limit.
type Batch[T any] struct {
	Count int         // 0: any number
	Bytes int         // the value that reaches this size ends the batch; 0: any size
	Size  func(T) int // returns the bytes of a value; required if Bytes is set
}

// Gather waits for one value. It adds the values that are already in the channel,
// in order, up to the limits. A single value never waits for others, and under
// load batches grow by themselves. It returns nil if ctx ends first, or if from is
// closed and empty.
func (b Batch[T]) Gather(ctx context.Context, from <-chan T) []T {
	select {
	case first, open := <-from:
		if !open {
			return nil
		}
		return b.GatherAfter(first, from)
	case <-ctx.Done():
		return nil
	}
}

// GatherAfter is Gather for a caller that has already received the first value.
func (b Batch[T]) GatherAfter(first T, from <-chan T) []T {
	batch, bytes := []T{first}, b.size(first)
	for (b.Count == 0 || len(batch) < b.Count) && (b.Bytes == 0 || bytes < b.Bytes) {
		select {
		case next, open := <-from:
			if !open {
				return batch
			}
			batch, bytes = append(batch, next), bytes+b.size(next)
		default:
			return batch
		}
	}
	return batch
}

func (b Batch[T]) size(value T) int {
	if b.Bytes == 0 {
		return 0
	}
	return b.Size(value)
}
