// SPDX-License-Identifier: Apache-2.0

package main

import (
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

// table writes rows of cells in aligned columns, two spaces apart.
type table struct{ tabs *tabwriter.Writer }

func newTable(w io.Writer) table {
	return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

func (t table) row(cells ...any) {
	words := make([]string, len(cells))
	for i, cell := range cells {
		words[i] = fmt.Sprint(cell)
	}
	fmt.Fprintln(t.tabs, strings.Join(words, "\t"))
}

func (t table) flush() error { return t.tabs.Flush() }
