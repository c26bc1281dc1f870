// Package upload sends the lines of a file to the API, in batches and in order.
package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/message-dispatcher/dispatch/internal/cli/client"
	"github.com/message-dispatcher/dispatch/internal/cli/exit"
	"github.com/message-dispatcher/dispatch/internal/cli/input"
	"github.com/message-dispatcher/dispatch/pkg/message"
)

// Limits of a request: the API's number of messages, or fewer if they are large.
const (
	batchLines = 1000
	batchBytes = 8 << 20
)

// A line that the API refuses because it is overloaded is sent again after a
// pause, up to this number of times.
const (
	overloadPause = time.Second
	overloadTries = 60
)

// Run sends every line of a file, in batches and in order. The file named - is
// standard input.
func Run(cmd *cobra.Command, api *client.Client, file input.Options, asJSON bool) error {
	in, size, err := openFile(cmd.InOrStdin(), file.Name)
	if err != nil {
		return err
	}
	defer in.Close()
	if size >= 0 { // a regular file can be read twice
		if err := input.Check(file.Name, file.Encoding); err != nil {
			return err
		}
	}
	counted := &countingReader{inner: in}
	next, err := input.Open(counted, file)
	if err != nil {
		return err
	}
	u := &upload{api: api, keyed: file.KeyPrefix != "", report: newFileReport(cmd, asJSON, size)}
	err = u.run(cmd.Context(), next, func() { u.report.progress(counted.n) })
	err = errors.Join(err, u.report.finish())
	if err == nil && u.report.sums.Rejected > 0 {
		return exit.Silent(exit.CodeFailed)
	}
	return err
}

// openFile opens a file; - is standard input. The size is -1 if it is not a regular
// file.
func openFile(stdin io.Reader, name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(stdin), -1, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, exit.Usage(fmt.Errorf("--file: %w", err))
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return file, -1, nil //nolint:nilerr // the size is only for the progress
	}
	return file, info.Size(), nil
}

type countingReader struct {
	inner io.Reader
	n     int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.inner.Read(p)
	r.n += int64(n)
	return n, err
}

// upload sends the lines of a file.
type upload struct {
	api    *client.Client
	keyed  bool // every line has a key, so a repeat stores nothing twice
	report *fileReport
	done   int // this line and all before it are done
}

func (u *upload) run(ctx context.Context, next input.Lines, progress func()) error {
	for ended := false; !ended; {
		batch, err := gather(next)
		ended = err != nil
		if len(batch) > 0 {
			if err := u.send(ctx, batch); err != nil {
				return u.broken(err)
			}
			if !ended {
				progress()
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%w\n  %s", err, u.soFar())
		}
	}
	return nil
}

// gather returns a batch, and the error that ended the file.
func gather(next input.Lines) ([]input.Line, error) {
	var batch []input.Line
	size := 0
	for len(batch) < batchLines && size < batchBytes {
		l, err := next()
		if err != nil {
			return batch, err
		}
		batch = append(batch, l)
		size += len(l.Body)
	}
	return batch, nil
}

// batchResponse is the response to a batch.
type batchResponse struct {
	Results []struct {
		Index    int             `json:"index"`
		ID       *message.ID     `json:"id"`
		Repeated bool            `json:"repeated"`
		Error    *client.Problem `json:"error"`
	} `json:"results"`
}

// send sends a batch until every line of it is stored or rejected, and reports
// the lines in order.
func (u *upload) send(ctx context.Context, batch []input.Line) error {
	results := make([]Line, len(batch))
	var open []int // indexes of the lines without a result
	for i, l := range batch {
		results[i] = Line{Line: l.Number}
		if l.Wrong != "" {
			results[i].Error = &client.Problem{Code: "unreadable", Detail: l.Wrong}
			continue
		}
		open = append(open, i)
	}
	var lost error
	for try := 1; len(open) > 0 && lost == nil; try++ {
		if try > 1 {
			lost = u.pause(ctx, try)
		}
		if lost == nil {
			open, lost = u.request(ctx, batch, results, open)
		}
	}
	for i, l := range results {
		if l.Error == nil && l.ID == nil {
			break // lost explains this line and the following ones
		}
		u.done = batch[i].Number
		if l.Error != nil && batch[i].Bare && client.RefusesNumber(l.Error) {
			u.report.bare++
		}
		if err := u.report.line(l); err != nil {
			return err
		}
	}
	return lost
}

func (u *upload) pause(ctx context.Context, try int) error {
	if try > overloadTries {
		return exit.Unreachable(errors.New("the API is overloaded"))
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("interrupted: %w", ctx.Err())
	case <-time.After(overloadPause):
		return nil
	}
}

// request sends the open lines of a batch, and returns those to send again. An
// outage is an error, even if it affects only some lines.
func (u *upload) request(ctx context.Context, batch []input.Line, results []Line, open []int) (again []int, lost error) {
	body := []byte{'['}
	for n, i := range open {
		if n > 0 {
			body = append(body, ',')
		}
		body = append(body, batch[i].Body...)
	}
	body = append(body, ']')
	var response batchResponse
	err := u.api.Call(ctx, client.Request{Method: http.MethodPost, Path: "/api/v1/messages/batch", Body: body}, &response)
	var refusal *client.Problem
	switch {
	case errors.As(err, &refusal) && refusal.Status == http.StatusTooManyRequests:
		return open, nil
	case errors.As(err, &refusal) && refusal.Status == http.StatusRequestEntityTooLarge && len(open) == 1:
		results[open[0]].Error = refusal
		return nil, nil
	case err != nil:
		return nil, err
	case len(response.Results) != len(open):
		return nil, fmt.Errorf("%s answered for %d messages of %d", u.api.Base, len(response.Results), len(open))
	}
	for n, i := range open {
		result := response.Results[n]
		switch {
		case result.Error == nil:
			results[i].ID, results[i].Repeated = result.ID, result.Repeated
		case result.Error.Status == http.StatusTooManyRequests:
			again = append(again, i)
		case result.Error.Status >= http.StatusInternalServerError:
			if lost == nil {
				lost = exit.Unreachable(result.Error)
			}
		default:
			results[i].Error = ofLine(result.Error, n+1)
		}
	}
	return again, lost
}

// ofLine removes the number of the item from an error of a batch. The report names
// the line instead.
func ofLine(refusal *client.Problem, item int) *client.Problem {
	place := fmt.Sprintf("item %d", item)
	if reason, found := strings.CutPrefix(refusal.Detail, place+": "); found {
		refusal.Detail = reason
	} else if reason, found := strings.CutPrefix(refusal.Detail, place+" "); found {
		refusal.Detail = "it " + reason
	}
	return refusal
}

// broken adds how far the upload came, and how to continue it.
func (u *upload) broken(err error) error {
	advice := "the rest may be stored in part; with --key-prefix a repeat is harmless"
	if u.keyed {
		advice = "repeat the same command to continue: no line is stored twice"
	}
	return exit.WithCode(err, fmt.Errorf("%w\n  %s\n  %s", err, u.soFar(), advice))
}

func (u *upload) soFar() string {
	if u.done == 0 {
		return "no line is done"
	}
	return "done up to line " + strconv.Itoa(u.done) + ": " + u.report.sums.String()
}
