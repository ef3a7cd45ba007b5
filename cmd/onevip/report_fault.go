// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/onevip/onevip/labs"
)

// faultEntry is an active fault as it is shown.
type faultEntry struct {
	ID    int            `json:"id"`
	Host  string         `json:"host"`
	Kind  labs.FaultKind `json:"kind"`
	Since time.Time      `json:"since"`
	From  string         `json:"from,omitempty"`
}

// faultsReport is what onevip lab faults shows.
type faultsReport struct {
	Faults []faultEntry `json:"faults"`
}

func reportFaults(active []labs.ActiveFault) faultsReport {
	report := faultsReport{Faults: []faultEntry{}}
	for _, f := range active {
		report.Faults = append(report.Faults, faultEntry{ID: f.ID, Host: f.Host, Kind: f.Kind, Since: f.Since, From: f.From})
	}
	return report
}

func (r faultsReport) writeTable(w io.Writer) error {
	if len(r.Faults) == 0 {
		_, err := fmt.Fprintln(w, "no fault is active")
		return err
	}
	t := newTable(w)
	t.row("Host", "Kind", "From", "Since")
	for _, f := range r.Faults {
		from := f.From
		if from == "" {
			from = "-"
		}
		t.row(f.Host, f.Kind, from, f.Since.Local().Format(time.DateTime))
	}
	return t.flush()
}
