package bench

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
)

// The page is one file: the plots' library (uPlot, MIT) is within it.
//
//go:embed page
var pageFiles embed.FS

// Page is what a page of plots shows.
type Page struct {
	Title   string
	Machine string
	Command string
	Results []Result
	Figures [][]string // a table: its first row is the head
}

// Write writes the page as one HTML file that needs nothing else.
func (p Page) Write(to io.Writer) error {
	script, style, err := pageParts()
	if err != nil {
		return err
	}
	data, err := json.Marshal(p.Results)
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	page, err := template.ParseFS(pageFiles, "page/page.html.tmpl")
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return page.Execute(to, struct {
		Page
		Script template.JS
		Style  template.CSS
		Data   template.JS
	}{p, template.JS(script), template.CSS(style), template.JS(data)}) //nolint:gosec // our own files, and JSON, in which encoding/json escapes what HTML would take for its own
}

func pageParts() (script, style []byte, err error) {
	if script, err = pageFiles.ReadFile("page/uPlot.iife.min.js"); err == nil {
		style, err = pageFiles.ReadFile("page/uPlot.min.css")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("write page: %w", err)
	}
	return script, style, nil
}
