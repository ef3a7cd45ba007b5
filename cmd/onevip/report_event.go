// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/onevip/onevip/topology"
)

// eventReport is one entry of the leader's ring of events.
type eventReport struct {
	Seq  uint64            `json:"seq"`
	Time time.Time         `json:"time"`
	Kind string            `json:"kind"`
	Node topology.NodeName `json:"node,omitempty"`
	Text string            `json:"text"`
}

// eventTime shows milliseconds: failures are a matter of those.
const eventTime = "2006-01-02 15:04:05.000"

func (r eventReport) writeTable(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s  %s  %s\n", r.Time.Local().Format(eventTime), r.Kind, r.Text)
	return err
}

// eventsReport is what onevip events shows.
type eventsReport struct {
	Events []eventReport `json:"events"`
}

func (r eventsReport) writeTable(w io.Writer) error {
	t := newTable(w)
	t.row("Time", "Kind", "Event")
	for _, event := range r.Events {
		t.row(event.Time.Local().Format(eventTime), event.Kind, event.Text)
	}
	return t.flush()
}
