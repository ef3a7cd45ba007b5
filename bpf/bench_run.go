// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/topology"
)

// runCase is a kind of packet that is measured by test runs.
type runCase struct {
	BenchCase
	program *ebpf.Program
	frames  [][]byte
	prepare func() error
	// want counts the packets; noReason for a program that counts none.
	want Reason
	// rewrites: the program changes the packet, so it must be put back.
	rewrites bool
}

const noReason = reasonCount

// framesPerCase: each of several connections is measured, or one bucket of the
// kernel's table would decide.
const framesPerCase = 8

// reading is one measurement, in nanoseconds a packet.
type reading struct {
	program, baseline float64
	// again is the baseline behind bench_again, where that is used: what it
	// adds is what putting the packet back costs.
	again float64
}

// putBack is what putting the packet back cost.
func (r reading) putBack() float64 {
	if r.again == 0 {
		return 0
	}
	return r.again - r.baseline
}

// ns is the program's own time.
func (r reading) ns() float64 { return r.program - r.putBack() }

// least takes of each part the least: what others do on the machine only adds.
func (r reading) least(o reading) reading {
	return reading{min(r.program, o.program), min(r.baseline, o.baseline), min(r.again, o.again)}
}

// measureRuns times packets by BPF_PROG_TEST_RUN, all cases in each round, each
// beside the baseline on the same packet.
func (b *benchmark) measureRuns(ctx context.Context) ([]BenchCase, error) {
	cases, err := b.runCases()
	if err != nil {
		return nil, err
	}
	readings := make([][]reading, len(cases))
	for round := range b.opts.Rounds {
		for i, c := range cases {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			r, err := b.runRound(c, c.frames[round%framesPerCase])
			if err != nil {
				return nil, fmt.Errorf("measure %s: %w", c.Name, err)
			}
			readings[i] = append(readings[i], r)
		}
		b.step()
	}
	out := make([]BenchCase, len(cases))
	for i, c := range cases {
		out[i] = summarizeRuns(c.BenchCase, readings[i])
	}
	return out, nil
}

// summarizeRuns averages the frames' least readings. Reading i is of frame
// i modulo framesPerCase.
func summarizeRuns(c BenchCase, readings []reading) BenchCase {
	frames := min(framesPerCase, len(readings))
	least := slices.Clone(readings[:frames])
	for i, r := range readings {
		least[i%frames] = least[i%frames].least(r)
	}
	all := make([]float64, len(readings))
	for i, r := range readings {
		all[i] = r.program - least[i%frames].putBack()
	}
	for _, r := range least {
		c.NS += r.ns() / float64(frames)
		c.Baseline += r.baseline / float64(frames)
	}
	c.Ratio = c.NS / c.Baseline
	return c.spread(all)
}

// runCases are in the order of the table.
func (b *benchmark) runCases() ([]runCase, error) {
	const data = 100
	filter := b.f.objs.OnevipIngress
	nodes := func(n int) func() error { return func() error { return b.setNodes(n) } }
	primary := func(id topology.NodeID) func() error { return func() error { return b.setPrimary(id) } }
	foreign := func(f benchFlow) ([]byte, error) { return f.stranger().segment(data) }
	own := func(f benchFlow) ([]byte, error) { return f.segment(data) }
	guard := func() error { return b.setRoles(benchSelf+1, benchSelf) }
	syn := func(f benchFlow) ([]byte, error) { return f.newcomer().syn() }
	return b.makeCases([]caseRecipe{
		{"bare", "looks at the Ethernet type, drops", b.tools.Bare, 0, foreign, noReason, nil},
		{"foreign", "another node's segment -> drop", filter, 0, foreign, ReasonForeign, nil},
		{"foreign6", "the same, IPv6", filter, 1, foreign, ReasonForeign, nil},
		{"foreign_l7", "the same, where a service looks at requests", filter, 0, foreign, ReasonForeign, b.setInspecting},
		{"guarded", "the same, of a slot that we guard", filter, 0, foreign, ReasonForeign, guard},
		{"guarded6", "the same, IPv6", filter, 1, foreign, ReasonForeign, guard},
		{"own", "segment of our socket -> up", filter, 0, own, ReasonOwn, nil},
		{"own6", "the same, IPv6", filter, 1, own, ReasonOwn, nil},
		{"foreign_syn", "SYN of another's slot -> drop", filter, 0, syn, ReasonNotPrimary, primary(benchSelf + 1)},
		{"syn4", "SYN -> SYN/ACK, 4 nodes", filter, 0, syn, ReasonAnswered, nodes(4)},
		{"syn64", "SYN -> SYN/ACK, 64 nodes", filter, 0, syn, ReasonAnswered, nodes(64)},
		{"syn64_6", "the same, IPv6", filter, 1, syn, ReasonAnswered, nodes(64)},
	})
}

// caseRecipe is a row of the table of cases.
type caseRecipe struct {
	name, text string
	program    *ebpf.Program
	family     int
	frame      func(benchFlow) ([]byte, error)
	want       Reason
	prepare    func() error
}

func (b *benchmark) makeCases(recipes []caseRecipe) ([]runCase, error) {
	cases := make([]runCase, len(recipes))
	for i, r := range recipes {
		cases[i] = runCase{
			BenchCase: BenchCase{Name: r.name, Text: r.text, Method: BenchTestRun},
			program:   r.program, want: r.want, rewrites: r.want == ReasonAnswered,
			prepare: func() error {
				err := errors.Join(b.setPrimary(benchSelf), b.setPlain())
				if err != nil || r.prepare == nil {
					return err
				}
				return r.prepare()
			},
		}
		flows := b.flows[r.family]
		for n := range framesPerCase {
			frame, err := r.frame(flows[n*len(flows)/framesPerCase])
			if err != nil {
				return nil, err
			}
			cases[i].frames = append(cases[i].frames, frame)
		}
	}
	return cases, nil
}

func (b *benchmark) setPrimary(id topology.NodeID) error { return b.setRoles(id, 0) }

// setRoles has nobody's table go before: a secondary of the table before still guards.
func (b *benchmark) setRoles(primary, secondary topology.NodeID) error {
	if err := b.f.SetSlots(make([]Slot, topology.SlotCount)); err != nil {
		return err
	}
	table := make([]Slot, topology.SlotCount)
	for i := range table {
		table[i] = Slot{Primary: primary, Secondary: secondary}
	}
	return b.f.SetSlots(table)
}

// runRound measures one packet of a case, and the baseline on it.
func (b *benchmark) runRound(c runCase, frame []byte) (r reading, err error) {
	if err := c.prepare(); err != nil {
		return r, err
	}
	if r.baseline, err = b.timeRun(b.tools.Baseline, frame); err != nil {
		return r, err
	}
	if c.rewrites {
		if r.again, err = b.timeBehindAgain(b.tools.Baseline, frame); err != nil {
			return r, err
		}
	}
	r.program, err = b.timeCase(c, frame)
	return r, err
}

// timeCase insists that every packet was counted as what it should be.
func (b *benchmark) timeCase(c runCase, frame []byte) (float64, error) {
	run := b.timeRun
	if c.rewrites {
		run = b.timeBehindAgain
	}
	if c.want == noReason {
		return run(c.program, frame)
	}
	before, err := b.f.reason(c.want)
	if err != nil {
		return 0, err
	}
	ns, err := run(c.program, frame)
	if err != nil {
		return 0, err
	}
	after, err := b.f.reason(c.want)
	if err != nil {
		return 0, err
	}
	if n := after - before; n < uint64(b.opts.Repeat) {
		return 0, fmt.Errorf("of %d packets, %d were counted as %s", b.opts.Repeat, n, c.want)
	}
	return ns, nil
}

// timeRun gives the nanoseconds of CPU time that one run takes: of this thread, so
// that other processes don't count, and undivided, where the kernel rounds down
// to whole nanoseconds.
func (b *benchmark) timeRun(p *ebpf.Program, frame []byte) (float64, error) {
	before, err := threadTime()
	if err != nil {
		return 0, err
	}
	if _, _, err := p.Benchmark(frame, b.opts.Repeat, nil); err != nil {
		return 0, fmt.Errorf("test run: %w", err)
	}
	after, err := threadTime()
	return float64(after-before) / float64(b.opts.Repeat), err
}

func threadTime() (int64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("read the thread's CPU time: %w", err)
	}
	return t.Nano(), nil
}

// timeBehindAgain measures a program that rewrites its packet: bench_again puts
// the packet back before each run.
func (b *benchmark) timeBehindAgain(p *ebpf.Program, frame []byte) (float64, error) {
	saved := benchAgainFrame{Len: uint32(len(frame))}
	if n := copy(saved.Bytes[:], frame); n < len(frame) {
		return 0, fmt.Errorf("a frame of %d bytes: bench_again holds %d", len(frame), n)
	}
	if err := b.tools.Frames.Put(uint32(0), saved); err != nil {
		return 0, fmt.Errorf("save the frame: %w", err)
	}
	if err := b.tools.Targets.Put(uint32(0), p); err != nil {
		return 0, fmt.Errorf("put the program behind bench_again: %w", err)
	}
	return b.timeRun(b.tools.Again, frame)
}
