package service

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestGatherTakesWhatIsThere(t *testing.T) {
	t.Parallel()
	from := make(chan int, 10)
	for n := range 7 {
		from <- n
	}
	assert.Equal(t, []int{0, 1}, Batch[int]{Count: 2}.Gather(t.Context(), from))
	bytes := Batch[int]{Bytes: 5, Size: func(n int) int { return n }}
	assert.Equal(t, []int{2, 3}, bytes.Gather(t.Context(), from), "a batch ends with what reaches its size")
	assert.Equal(t, []int{4, 5, 6}, Batch[int]{}.Gather(t.Context(), from))

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Nil(t, Batch[int]{}.Gather(ended, from))
	from <- 7
	close(from)
	assert.Equal(t, []int{7}, Batch[int]{}.Gather(t.Context(), from))
	assert.Nil(t, Batch[int]{}.Gather(t.Context(), from))
}
