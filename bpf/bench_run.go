// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"context"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/topology"
)

// runCase is a kind of packet that is measured by test runs.
type runCase struct {
	BenchCase
	frames [][]byte
	want   Reason
	// rewrites: the program changes the packet, so it must be put back.
	rewrites bool
	prepare  func() error
}

// framesPerCase: each round takes another connection, or one bucket of the
// kernel's table would decide.
const framesPerCase = 16

// measureRuns times packets by BPF_PROG_TEST_RUN, all cases in each round, each
// beside the baseline on the same packet.
func (b *benchmark) measureRuns(ctx context.Context) ([]BenchCase, error) {
	cases, err := b.runCases()
	if err != nil {
		return nil, err
	}
	samples := make([][]sample, len(cases))
	for round := range b.opts.Rounds {
		for i, c := range cases {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			s, err := b.runRound(c, c.frames[round%len(c.frames)])
			if err != nil {
				return nil, fmt.Errorf("measure %s: %w", c.Name, err)
			}
			samples[i] = append(samples[i], s)
		}
		b.step()
	}
	out := make([]BenchCase, len(cases))
	for i, c := range cases {
		out[i] = summarize(c.BenchCase, samples[i])
	}
	return out, nil
}

func (b *benchmark) runCases() ([]runCase, error) {
	const data = 100
	nodes := func(n int) func() error { return func() error { return b.setNodes(n) } }
	primary := func(id topology.NodeID) func() error { return func() error { return b.setPrimary(id) } }
	stranger := func(size int) func(benchFlow) ([]byte, error) {
		return func(f benchFlow) ([]byte, error) { return f.stranger().segment(size) }
	}
	own := func(f benchFlow) ([]byte, error) { return f.segment(data) }
	syn := func(f benchFlow) ([]byte, error) { return f.stranger().syn() }
	all := []struct {
		name, text string
		family     int
		frame      func(benchFlow) ([]byte, error)
		want       Reason
		prepare    func() error
	}{
		{"foreign", "another node's segment -> drop", 0, stranger(data), ReasonForeign, nil},
		{"foreign6", "the same, IPv6", 1, stranger(data), ReasonForeign, nil},
		{"own", "our socket's segment -> up", 0, own, ReasonOwn, nil},
		{"own6", "the same, IPv6", 1, own, ReasonOwn, nil},
		{"foreign_syn", "SYN of another's slot -> drop", 0, syn, ReasonNotPrimary, primary(benchSelf + 1)},
		{"syn4", "SYN -> SYN/ACK, 4 nodes", 0, syn, ReasonAnswered, nodes(4)},
		{"syn64", "SYN -> SYN/ACK, 64 nodes", 0, syn, ReasonAnswered, nodes(64)},
		{"syn64_6", "the same, IPv6", 1, syn, ReasonAnswered, nodes(64)},
	}
	cases := make([]runCase, len(all))
	for i, a := range all {
		cases[i] = runCase{
			BenchCase: BenchCase{Name: a.name, Text: a.text, Method: BenchTestRun},
			want:      a.want, rewrites: a.want == ReasonAnswered,
			prepare: func() error {
				if err := b.setPrimary(benchSelf); err != nil || a.prepare == nil {
					return err
				}
				return a.prepare()
			},
		}
		flows := b.flows[a.family]
		for n := range framesPerCase {
			frame, err := a.frame(flows[n*len(flows)/framesPerCase])
			if err != nil {
				return nil, err
			}
			cases[i].frames = append(cases[i].frames, frame)
		}
	}
	return cases, nil
}

func (b *benchmark) setPrimary(id topology.NodeID) error {
	table := make([]Slot, topology.SlotCount)
	for i := range table {
		table[i].Primary = id
	}
	return b.f.SetSlots(table)
}

// runRound measures one packet of a case, and the baseline before and after.
func (b *benchmark) runRound(c runCase, frame []byte) (s sample, err error) {
	if err := c.prepare(); err != nil {
		return s, err
	}
	before, err := b.timeRun(b.tools.Baseline, frame)
	if err != nil {
		return s, err
	}
	if s.ns, err = b.timeCase(c, frame); err != nil {
		return s, err
	}
	after, err := b.timeRun(b.tools.Baseline, frame)
	s.baseline = (before + after) / 2
	return s, err
}

// timeCase insists that every packet was counted as what it should be.
func (b *benchmark) timeCase(c runCase, frame []byte) (ns float64, err error) {
	before, err := b.f.reason(c.want)
	if err != nil {
		return 0, err
	}
	if c.rewrites {
		ns, err = b.timeAgain(frame)
	} else {
		ns, err = b.timeRun(b.f.objs.OnevipIngress, frame)
	}
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

// timeAgain measures a program that rewrites its packet: bench_again puts the
// packet back before each run. What that costs is what it adds to the baseline,
// and is taken off.
func (b *benchmark) timeAgain(frame []byte) (float64, error) {
	saved := benchAgainFrame{Len: uint32(len(frame))}
	if n := copy(saved.Bytes[:], frame); n < len(frame) {
		return 0, fmt.Errorf("a frame of %d bytes: bench_again holds %d", len(frame), n)
	}
	if err := b.tools.Frames.Put(uint32(0), saved); err != nil {
		return 0, fmt.Errorf("save the frame: %w", err)
	}
	plain, err := b.timeRun(b.tools.Baseline, frame)
	if err != nil {
		return 0, err
	}
	both, err := b.timeBehindAgain(b.tools.Baseline, frame)
	if err != nil {
		return 0, err
	}
	whole, err := b.timeBehindAgain(b.f.objs.OnevipIngress, frame)
	return whole - (both - plain), err
}

func (b *benchmark) timeBehindAgain(p *ebpf.Program, frame []byte) (float64, error) {
	if err := b.tools.Targets.Put(uint32(0), p); err != nil {
		return 0, fmt.Errorf("put the program behind bench_again: %w", err)
	}
	return b.timeRun(b.tools.Again, frame)
}
