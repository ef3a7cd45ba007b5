// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/onevip/onevip/labs"
)

// The states of a lab.
const (
	labDown     = "down"
	labUp       = "up"
	labBuilding = "building"
	labBroken   = "broken" // its builder died; lab down clears up
)

// labEntry is a lab that there is, or that is up under a name of its own.
type labEntry struct {
	Name   string     `json:"name"`
	State  string     `json:"state"`
	Since  *time.Time `json:"since,omitempty"`
	Source string     `json:"source"`
	Title  string     `json:"title,omitempty"`
}

// labsReport is what onevip lab list shows.
type labsReport struct {
	Labs []labEntry `json:"labs"`
}

func reportLabs(available []labs.Description, running []*labs.Running) labsReport {
	report := labsReport{Labs: []labEntry{}}
	for _, r := range running {
		since := r.Since
		report.Labs = append(report.Labs, labEntry{
			Name: r.Name, State: labState(r), Since: &since, Source: r.Source, Title: titleOf(available, r.Source),
		})
	}
	for _, d := range available {
		known := slices.ContainsFunc(report.Labs, func(l labEntry) bool { return l.Name == d.Name })
		if !known {
			report.Labs = append(report.Labs, labEntry{Name: d.Name, State: labDown, Source: d.Name, Title: d.Title})
		}
	}
	return report
}

func labState(r *labs.Running) string {
	switch {
	case r.Ready:
		return labUp
	case r.Building():
		return labBuilding
	}
	return labBroken
}

func titleOf(available []labs.Description, source string) string {
	for _, d := range available {
		if d.Name == source {
			return d.Title
		}
	}
	return ""
}

func (r labsReport) writeTable(w io.Writer) error {
	t := newTable(w)
	t.row("Lab", "State", "Since", "Source", "Title")
	for _, lab := range r.Labs {
		since := "-"
		if lab.Since != nil {
			since = lab.Since.Local().Format(time.DateTime)
		}
		t.row(lab.Name, lab.State, since, lab.Source, lab.Title)
	}
	return t.flush()
}

// labReport is what onevip lab status shows.
type labReport struct {
	Name  string      `json:"name"`
	State string      `json:"state"`
	Since time.Time   `json:"since"`
	Dir   string      `json:"dir"` // logs and sockets
	Hosts []hostEntry `json:"hosts"`
}

type hostEntry struct {
	Name      string         `json:"name"`
	Role      string         `json:"role,omitempty"`
	State     labs.HostState `json:"state"`
	Processes int            `json:"processes"`
	Faults    []string       `json:"faults,omitempty"` // those that are active
	PID       int            `json:"pid,omitempty"`    // of the host's own command
	Namespace string         `json:"namespace"`
	Log       string         `json:"log"`
}

func reportLab(status labs.Report) labReport {
	report := labReport{
		Name: status.Name, State: labState(status.Running), Since: status.Since, Dir: status.Dir(),
	}
	for _, h := range status.Hosts {
		var faults []string
		for _, kind := range h.Faults {
			faults = append(faults, string(kind))
		}
		report.Hosts = append(report.Hosts, hostEntry{
			Name: h.Name, Role: h.Labels[roleLabel], State: h.State, Processes: h.Processes, Faults: faults,
			PID: h.Process.PID, Namespace: h.Namespace, Log: h.Log(),
		})
	}
	return report
}

func (r labReport) well() bool {
	return r.State == labUp && !slices.ContainsFunc(r.Hosts, func(h hostEntry) bool {
		return h.State != labs.HostRunning && h.State != labs.HostIdle || len(h.Faults) > 0
	})
}

func (r labReport) writeTable(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "Lab %s: %s since %s\n\n", r.Name, r.State, r.Since.Local().Format(time.DateTime)); err != nil {
		return err
	}
	t := newTable(w)
	t.row("Host", "Role", "State", "Faults", "Processes", "Namespace", "Log")
	for _, h := range r.Hosts {
		t.row(h.Name, h.Role, h.State, strings.Join(h.Faults, " "), h.Processes, h.Namespace, h.Log)
	}
	return t.flush()
}
