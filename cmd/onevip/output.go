// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// outputFlag is -o of every command that shows data.
type outputFlag struct{ format string }

// The ways to show data. A table is for people and may change; the others are
// for programs and only grow.
const (
	outputTable = "table"
	outputJSON  = "json"
	outputYAML  = "yaml"
)

func (o *outputFlag) register(flags *pflag.FlagSet) {
	o.format = outputTable
	flags.VarP(o, "output", "o", "how to show it: table, json or yaml")
}

// String, Set and Type make outputFlag a pflag.Value, so that a wrong format
// is refused before anything is done.
func (o *outputFlag) String() string { return o.format }

func (o *outputFlag) Set(s string) error {
	switch s {
	case outputTable, outputJSON, outputYAML:
		o.format = s
		return nil
	}
	return fmt.Errorf("write %s, %s or %s", outputTable, outputJSON, outputYAML)
}

func (o *outputFlag) Type() string { return "format" }

// report is data that can be shown: its JSON form is the struct itself.
type report interface {
	writeTable(w io.Writer) error
}

// yamlReport is a report whose YAML says more than its JSON.
type yamlReport interface {
	writeYAML(w io.Writer) error
}

func (o *outputFlag) write(w io.Writer, r report) error {
	switch o.format {
	case outputJSON:
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	case outputYAML:
		if own, ok := r.(yamlReport); ok {
			return own.writeYAML(w)
		}
		text, err := yaml.Marshal(r)
		if err != nil {
			return fmt.Errorf("write as YAML: %w", err)
		}
		_, err = w.Write(text)
		return err
	}
	return r.writeTable(w)
}

// writeLine writes one of a series of reports: JSON on a line of its own, YAML as
// a document.
func (o *outputFlag) writeLine(w io.Writer, r report) error {
	switch o.format {
	case outputJSON:
		return json.NewEncoder(w).Encode(r)
	case outputYAML:
		if _, err := fmt.Fprintln(w, "---"); err != nil {
			return err
		}
	}
	return o.write(w, r)
}

// table writes rows of cells in aligned columns, two spaces apart. Rows may
// differ in length: a column goes on below a shorter row.
type table struct {
	out  io.Writer
	rows [][]string
}

func newTable(w io.Writer) *table { return &table{out: w} }

func (t *table) row(cells ...any) {
	words := make([]string, len(cells))
	for i, cell := range cells {
		words[i] = fmt.Sprint(cell)
	}
	t.rows = append(t.rows, words)
}

// flush writes all rows. Text/tabwriter ends a column at the first row that
// has no cell in it, so short rows are filled up, and the filling is cut off
// again.
func (t *table) flush() error {
	var text bytes.Buffer
	tabs := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	width := 0
	for _, row := range t.rows {
		width = max(width, len(row))
	}
	for _, row := range t.rows {
		fmt.Fprintln(tabs, strings.Join(row, "\t")+strings.Repeat("\t", width-len(row)))
	}
	if err := tabs.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(t.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}
