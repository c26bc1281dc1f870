package cli

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/message-dispatcher/dispatch/internal/bench"
)

// writePage writes a page of plots to a file.
func writePage(path string, r report) error {
	var figures table
	fillResults(&figures, r.Runs)
	page := bench.Page{
		Title: "Message Dispatcher " + r.Version, Machine: r.Machine, Command: r.Command,
		Results: r.Runs, Figures: figures.texts(),
	}
	file, err := os.Create(path)
	if err != nil {
		return usage(fmt.Errorf("write page: %w", err))
	}
	if err := page.Write(file); err != nil {
		_ = file.Close() // the error before is the one to tell
		return err
	}
	return file.Close()
}

// machine describes this machine: figures mean little without it.
func machine() string {
	parts := []string{fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())}
	if infos, err := cpu.Info(); err == nil && len(infos) > 0 {
		parts = append(parts, infos[0].ModelName)
	}
	if memory, err := mem.VirtualMemory(); err == nil {
		parts = append(parts, fmt.Sprintf("%.0f GiB of memory", float64(memory.Total)/(1<<30)))
	}
	return strings.Join(parts, "; ")
}

// texts are the cells without their styles.
func (t *table) texts() [][]string {
	rows := make([][]string, len(t.rows))
	for i, row := range t.rows {
		for _, c := range row {
			rows[i] = append(rows[i], c.text)
		}
	}
	return rows
}
