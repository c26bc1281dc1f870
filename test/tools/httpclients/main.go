// Command httpclients compares HTTP clients for the sender: net/http, fasthttp
// and our own. It shows what a POST with a small response costs in processor time
// of the client, and how many a second are made. The receiver is a process of its
// own. The clients take turns; the figures are medians.
//
//	go run ./test/tools/httpclients -scheme https -concurrency 64
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// options are the flags. The program also runs itself, as the receiver and as
// one measurement.
type options struct {
	role        string
	scheme      string
	http2       bool
	client      string
	concurrency int
	rounds      int
	duration    time.Duration
	receiver    string
	certificate string
}

func main() {
	var o options
	flag.StringVar(&o.role, "role", "compare", "compare; receive and measure are for the program itself")
	flag.StringVar(&o.scheme, "scheme", "http", "http or https")
	flag.BoolVar(&o.http2, "http2", false, "the receiver offers HTTP/2")
	flag.StringVar(&o.client, "client", "", "the client to measure")
	flag.IntVar(&o.concurrency, "concurrency", 64, "requests in flight")
	flag.IntVar(&o.rounds, "rounds", 7, "measurements of each client")
	flag.DurationVar(&o.duration, "duration", 1200*time.Millisecond, "of one measurement")
	flag.StringVar(&o.receiver, "receiver", "", "URL of the receiver")
	flag.StringVar(&o.certificate, "certificate", "", "PEM file with the certificate of the receiver")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "httpclients:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(o options) error {
	switch o.role {
	case "receive":
		return receive(o)
	case "measure":
		r, err := measure(o)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	return compare(o)
}

// result is one measurement, or the median of several.
type result struct {
	PerSecond float64
	CPU       float64 // µs per request
	Failed    int64
}

func compare(o options) error {
	results := map[string][]result{}
	for round := range o.rounds {
		for i := range clients {
			o.client = clients[(i+round)%len(clients)]
			one, err := once(o)
			if err != nil {
				return err
			}
			results[o.client] = append(results[o.client], one)
		}
	}
	for _, name := range clients {
		of := func(value func(result) float64) float64 {
			var values []float64
			for _, r := range results[name] {
				values = append(values, value(r))
			}
			slices.Sort(values)
			return values[len(values)/2]
		}
		fmt.Fprintf(os.Stdout, "%-10s %6.1f µs %8.0f/s, at most %.0f failed\n", name,
			of(func(r result) float64 { return r.CPU }), of(func(r result) float64 { return r.PerSecond }),
			of(func(r result) float64 { return float64(r.Failed) }))
	}
	return nil
}

// address is what a receiver says about itself.
type address struct {
	URL         string
	Certificate []byte // in DER; nil without TLS
}

// once measures one client with a new receiver.
func once(o options) (r result, err error) {
	ctx := context.Background()
	receiver := exec.CommandContext(ctx, os.Args[0], "-role=receive", "-scheme="+o.scheme, fmt.Sprintf("-http2=%v", o.http2))
	in, err := receiver.StdinPipe()
	if err != nil {
		return r, err
	}
	out, err := receiver.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := receiver.Start(); err != nil {
		return r, err
	}
	defer func() { _ = in.Close(); _ = receiver.Wait() }()
	var at address
	if err := json.NewDecoder(out).Decode(&at); err != nil {
		return r, err
	}
	file, err := writeCertificate(at.Certificate)
	if err != nil {
		return r, err
	}
	defer func() { _ = os.Remove(file) }()
	text, err := exec.CommandContext(ctx, os.Args[0], "-role=measure", "-client="+o.client, "-receiver="+at.URL+"/hook",
		"-certificate="+file, fmt.Sprintf("-concurrency=%d", o.concurrency), "-duration="+o.duration.String()).Output()
	if err != nil {
		return r, err
	}
	err = json.Unmarshal(text, &r)
	return r, err
}

// receive runs a receiver until stdin ends.
func receive(o options) error {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"message":"Accepted","messageId":"67f2f8a8-ea58-4ed0-a6f9-ff217df4d849"}`)
	}))
	s.EnableHTTP2 = o.http2
	var at address
	if o.scheme == "https" {
		s.StartTLS()
		at.Certificate = s.Certificate().Raw
	} else {
		s.Start()
	}
	at.URL = s.URL
	if err := json.NewEncoder(os.Stdout).Encode(at); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// measure sends requests for a while, after a warm-up.
func measure(o options) (r result, err error) {
	c, err := newClient(o)
	if err != nil {
		return r, err
	}
	body := []byte(`{"to":"+905551111111","content":"` + strings.Repeat("x", 180) + `"}`)
	run := func(d time.Duration) (sent, failed int64) {
		var all, bad atomic.Int64
		end := time.Now().Add(d)
		var workers sync.WaitGroup
		for range o.concurrency {
			workers.Go(func() {
				for time.Now().Before(end) {
					if status, err := c.post(context.Background(), body); err != nil || status != http.StatusAccepted {
						bad.Add(1)
					}
					all.Add(1)
				}
			})
		}
		workers.Wait()
		return all.Load(), bad.Load()
	}
	run(o.duration / 2)
	began := time.Now()
	cpu, err := processorTime()
	if err != nil {
		return r, err
	}
	sent, failed := run(o.duration)
	after, err := processorTime()
	return result{float64(sent) / time.Since(began).Seconds(), float64((after - cpu).Microseconds()) / float64(sent), failed}, err
}

func processorTime() (time.Duration, error) {
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), err
}
