// SPDX-License-Identifier: Apache-2.0

package failover

import (
	"slices"
	"strings"
	"time"

	"github.com/onevip/onevip/cmd/onevip/labload"
)

// Mode is a way to run the cluster that is compared with another.
type Mode string

// With speculation as configured, and without.
const (
	On  Mode = "on"
	Off Mode = "off"
)

// Round is one fault, or, as a baseline, none.
type Round struct {
	Mode   Mode      `json:"mode"`
	Fault  Fault     `json:"fault,omitempty"` // empty: none
	Victim string    `json:"victim"`
	At     time.Time `json:"at"` // of the fault, or where it would have been
	// DoubleOwners is how often the agents saw two owners of a connection.
	DoubleOwners int `json:"double_owners"`
	// SwitchLost is how many packets found the switch too busy to take them: the
	// machine's own share in what went wrong.
	SwitchLost int   `json:"switch_lost"`
	Trace      Trace `json:"trace"`
}

// affected is how long after a fault connections count as made during it. What
// is begun later meets a cluster that has done with it.
const affected = 2 * time.Second

// Summary is what clients noticed of one kind of fault in one mode.
type Summary struct {
	Rounds   int `json:"rounds"`
	Connects int `json:"connects"` // begun within two seconds after the fault
	Failed   int `json:"failed"`   // of them
	Broken   int `json:"broken"`   // of them: established, but the request was lost with the owner
	// Added is beyond the median of the baseline rounds of the same mode.
	AddedP50 float64 `json:"added_connect_p50_ms"`
	AddedP99 float64 `json:"added_connect_p99_ms"`
	AddedMax float64 `json:"added_connect_max_ms"`
	// Of the baseline rounds: what the machine itself adds.
	BaselineP99 float64 `json:"baseline_p99_ms"`
	BaselineMax float64 `json:"baseline_max_ms"`
	// Streams of the victim, and when they were told.
	Streams      int `json:"streams"`
	StreamsReset int `json:"streams_reset"` // of them, by RST
	// Who was not told until the round's end counts as told then.
	RSTP50       float64 `json:"rst_p50_ms"`
	RSTP99       float64 `json:"rst_p99_ms"`
	Touched      int     `json:"streams_touched"` // of other nodes, that ended
	DoubleOwners int     `json:"double_owners"`
	SwitchLost   int     `json:"switch_lost"` // packets that the lab's switch had no time for
	// Resent are connections that took a SYN sent again: 0.9 s and more.
	Resent int `json:"syn_resent"`
}

// resent is what a connection takes at least whose SYN or SYN/ACK was lost.
const resent = 900 * time.Millisecond

// Summarise gives fault -> mode -> what clients noticed.
func Summarise(rounds []Round) map[Fault]map[Mode]Summary {
	all := map[Fault]map[Mode]Summary{}
	for _, r := range rounds {
		if r.Fault == "" {
			continue
		}
		if all[r.Fault] == nil {
			all[r.Fault] = map[Mode]Summary{}
		}
		if _, done := all[r.Fault][r.Mode]; !done {
			all[r.Fault][r.Mode] = summarise(rounds, r.Fault, r.Mode)
		}
	}
	return all
}

func summarise(rounds []Round, fault Fault, mode Mode) Summary {
	baseline := Latencies(rounds, "", mode)
	var s Summary
	var resets []float64
	for _, r := range rounds {
		if r.Fault != fault || r.Mode != mode {
			continue
		}
		s.Rounds++
		s.DoubleOwners += r.DoubleOwners
		s.SwitchLost += r.SwitchLost
		for _, c := range r.during() {
			s.Connects++
			s.Failed += one(c.Err != "")
			s.Resent += one(c.Took >= resent)
			s.Broken += one(c.Broken != "")
		}
		resets = append(resets, s.streams(r)...)
	}
	took := Latencies(rounds, fault, mode)
	median := labload.Quantile(baseline, 0.5)
	s.AddedP50, s.AddedP99, s.AddedMax = labload.Quantile(took, 0.5)-median, labload.Quantile(took, 0.99)-median, labload.Quantile(took, 1)-median
	s.BaselineP99, s.BaselineMax = labload.Quantile(baseline, 0.99), labload.Quantile(baseline, 1)
	slices.Sort(resets)
	s.RSTP50, s.RSTP99 = labload.Quantile(resets, 0.5), labload.Quantile(resets, 0.99)
	return s
}

// streams counts the round's streams, and gives the milliseconds from the fault
// until each that was the victim's was told.
func (s *Summary) streams(r Round) (told []float64) {
	for _, stream := range r.Trace.Streams {
		ended := !stream.Ended.IsZero()
		s.DoubleOwners += one(strings.Contains(stream.Err, answeredThen))
		switch {
		case stream.Node != r.Victim:
			s.Touched += one(ended)
			continue
		case ended && strings.Contains(stream.Err, "reset"):
			s.StreamsReset++
			told = append(told, labload.Milliseconds(max(0, stream.Ended.Sub(r.At))))
		default:
			told = append(told, labload.Milliseconds(tail))
		}
		s.Streams++
	}
	return told
}

// during are the connections that the fault could concern.
func (r Round) during() (connects []Connect) {
	for _, c := range r.Trace.Connects {
		if !c.At.Before(r.At) && c.At.Before(r.At.Add(affected)) {
			connects = append(connects, c)
		}
	}
	return connects
}

// Latencies are those of all established connections during a kind of fault in
// a mode, in milliseconds, sorted.
func Latencies(rounds []Round, fault Fault, mode Mode) []float64 {
	var all []float64
	for _, r := range rounds {
		if r.Fault != fault || r.Mode != mode {
			continue
		}
		for _, c := range r.during() {
			if c.Err == "" {
				all = append(all, labload.Milliseconds(c.Took))
			}
		}
	}
	slices.Sort(all)
	return all
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
