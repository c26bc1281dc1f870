package ingest_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

func BenchmarkPost(b *testing.B) {
	i := start(b, "LOG_LEVEL", "error")
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := i.client.Post(i.url+messages, "application/json", bytes.NewBufferString(hello))
			if err != nil { b.Error(err); return }
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
			if r.StatusCode != http.StatusCreated { b.Error(r.Status) ; return}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}
