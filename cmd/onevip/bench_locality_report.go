// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/onevip/onevip/cmd/onevip/locality"
	"github.com/onevip/onevip/topology"
)

// localityReport is the JSON of bench locality.
type localityReport struct {
	Schema     string                               `json:"schema"`
	Started    time.Time                            `json:"started"`
	Machine    string                               `json:"machine"`
	Parameters localityParameters                   `json:"parameters"`
	Summary    map[topology.Policy]locality.Summary `json:"summary"`
	FirstByte  *locality.Compared                   `json:"first_byte,omitempty"` // layer 7 to layer 4
	Rounds     []locality.Round                     `json:"rounds,omitempty"`
	Pairs      []locality.Pair                      `json:"pairs,omitempty"`
}

// localityParameters say what was run, so that it can be run again.
type localityParameters struct {
	Files     string            `json:"files"`
	Storage   locality.Storage  `json:"storage"`
	Line      float64           `json:"line_bytes_per_second"`
	Rate      float64           `json:"downloads_per_second"`
	Primed    bool              `json:"primed"`
	Warm      float64           `json:"warm_seconds"`
	For       float64           `json:"for_seconds"`
	Seed      uint64            `json:"seed"`
	Rounds    int               `json:"rounds"`
	Tolerable float64           `json:"tolerable_share_of_line"`
	Allowance float64           `json:"allowance_ms"`
	Set       map[string]string `json:"set,omitempty"`
}

const localityReportSchema = "onevip.bench.locality/1"

func (f benchLocalityFlags) parameters() localityParameters {
	b := f.bench
	return localityParameters{
		Files: b.Load.Files.String(), Storage: b.Storage, Line: b.Load.Line, Rate: b.Load.Rate, Primed: b.Load.Primed,
		Warm: b.Load.Warm.Seconds(), For: b.Load.For.Seconds(), Seed: b.Load.Seed, Rounds: b.Rounds,
		Tolerable: locality.Tolerable, Allowance: float64(locality.Allowance.Milliseconds()), Set: b.Set,
	}
}

func (r localityReport) write(e *env, f benchLocalityFlags) error {
	if f.json != "" {
		text, err := json.Marshal(r)
		if err == nil {
			err = os.WriteFile(f.json, append(text, '\n'), 0o644)
		}
		if err != nil {
			return fmt.Errorf("bench locality: %w", err)
		}
	}
	if f.png != "" && len(r.Rounds) > 0 {
		if err := locality.Plot(r.Rounds, f.bench.Policies, f.bench.Load.Line, f.png); err != nil {
			return err
		}
	}
	return r.writeTable(e.stdout, f.bench.Policies)
}

func (r localityReport) writeTable(w io.Writer, policies []topology.Policy) error {
	t := newTable(w)
	t.row("Policy", "Downloads", "Slow", "%", "From memory", "Failed", "Hits", "Storage MB", "Nodes per file", "First byte p50", "p99 ms", "Switch lost")
	for _, policy := range policies {
		s, there := r.Summary[policy]
		if !there {
			continue
		}
		t.row(policy, s.Downloads, s.Slow, tenth(100*float64(s.Slow)/float64(max(1, s.Downloads))), s.SlowHits, s.Failed, percent(s.HitRatio), tenth(s.StorageMB),
			fmt.Sprintf("%.2f", s.Copies), tenth(s.FirstP50), tenth(s.FirstP99), s.SwitchLost)
	}
	if len(r.Summary) > 0 {
		if err := t.flush(); err != nil {
			return err
		}
	}
	if c := r.FirstByte; c != nil {
		_, err := fmt.Fprintf(w, "First byte at low load, layer 7 to layer 4, %d pairs: %.2f times (95%%: %.2f to %.2f), %.2f to %.2f ms\n",
			c.Pairs, c.Ratio, c.Low, c.High, c.Layer7P50, c.Layer4P50)
		return err
	}
	return nil
}
