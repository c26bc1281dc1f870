package message

import (
	"testing"
	"time"
)

func BenchmarkRead(b *testing.B) {
	for name, body := range map[string]string{
		"phone":   `{"to":"+14155550100","content":"Your code is 123456. It is valid for ten minutes."}`,
		"any":     `{"to":"user-17","content":"Your code is 123456. It is valid for ten minutes.","destination":"crm"}`,
		"keyed":   `{"to":"user-17","content":"Your code is 123456.","destination":"crm","idempotencyKey":"order-17"}`,
		"payload": `{"to":"user-17","payload":{"type":"invoice.paid","data":{"id":"in_17","amount":1200,"lines":[1,2,3]}},"destination":"crm","type":"invoice.paid","metadata":{"order":"17"},"idempotencyKey":"order-17"}`,
		"wrong":   `{"to":"","content":"","priorty":1}`,
	} {
		b.Run(name, func(b *testing.B) {
			data := []byte(body)
			id := NewID(noon)
			b.ReportAllocs()
			for b.Loop() {
				if r, err := rules.Parse(data, noon); err == nil {
					_ = r.Message(id, "scope")
				}
			}
		})
	}
}

func BenchmarkBackoff(b *testing.B) {
	backoff := Backoff{Base: 5 * time.Second, Factor: 10, Max: time.Hour, MaxRetries: 3}
	b.ReportAllocs()
	for b.Loop() {
		backoff.Delay(2, 0)
	}
}
