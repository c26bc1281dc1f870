package service

import "context"

// Batch bounds what Gather takes at once. The zero value does not.
type Batch[T any] struct {
	Count int         // 0: any number
	Bytes int         // a batch ends with the value that reaches it; 0: any size
	Size  func(T) int // the bytes of a value; needed with Bytes
}

// Gather waits for one value and takes with it those that are there by then, in
// their order, up to the bounds. So a single value waits for nobody, and under
// load batches grow by themselves. It returns nil when ctx ends first, or when
// from is closed and empty.
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

// GatherAfter is Gather with a first value that has been received already.
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
