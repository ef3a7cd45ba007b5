// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// wireBatch is the number of packets sent before their answers are read: the
// packet socket's buffer must hold them.
const wireBatch = 64

// wireRounds is how often the wire cases are measured; the adoptions are shared
// out. Many short rounds: what disturbs a few of them does not move the median.
const wireRounds = 64

// measureWire makes the connections, and times their packets as they come by the
// kernel's own statistics. The two programs take turns on the interface.
func (b *benchmark) measureWire(ctx context.Context) ([]BenchCase, error) {
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, fmt.Errorf("turn the kernel's BPF statistics on (Linux 5.8): %w", err)
	}
	defer stats.Close()
	b.total = wireRounds + b.opts.Rounds
	var syn, adopt, foreign [][]sample
	var waits, mirrored []sample
	var inspect inspectSamples
	each := max(1, b.opts.Sockets/wireRounds/len(benchFamilies))
	syn, adopt, foreign = make([][]sample, 2), make([][]sample, 2), make([][]sample, 2)
	for round := range wireRounds {
		for i := range benchFamilies {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			s, err := b.wireRound(i, round*each, each)
			if err != nil {
				return nil, err
			}
			syn[i], adopt[i], foreign[i] = append(syn[i], s[0]), append(adopt[i], s[1]), append(foreign[i], s[2])
		}
		w, err := b.waitRound(round*each, each)
		if err != nil {
			return nil, err
		}
		waits, mirrored = append(waits, w[0]), append(mirrored, w[1])
		if err := b.inspectRound(round*each, each, &inspect); err != nil {
			return nil, err
		}
		b.step()
	}
	wire := func(name, text string, samples []sample) BenchCase {
		return summarizeWire(BenchCase{Name: name, Text: text, Method: BenchWire}, samples)
	}
	return []BenchCase{
		wire("adopt", "handshake's ACK -> socket", adopt[0]),
		wire("adopt6", "the same, IPv6", adopt[1]),
		wire("syn1_wire", "SYN -> SYN/ACK, 1 node", syn[0]),
		wire("foreign_wire", "another node's segment -> drop", foreign[0]),
		wire("syn_waits", "SYN of a slot that we guard -> waits", waits),
		wire("mirrored", "another's SYN/ACK -> it waits no more", mirrored),
		wire("undecided", "bare ACK that names us as inspector -> drop", inspect.undecided),
		wire("inspected", "first request -> its owner, and the guard is told", inspect.inspected),
		wire("followed", "what follows it -> the same", inspect.followed),
		wire("handed", "first request from its inspector -> socket", inspect.handed),
	}, nil
}

// sample is one round on the wire: mean nanoseconds a packet.
type sample struct{ ns, baseline float64 }

// summarizeWire takes medians.
func summarizeWire(c BenchCase, samples []sample) BenchCase {
	var ns, baseline, ratio []float64
	for _, s := range samples {
		ns = append(ns, s.ns)
		baseline = append(baseline, s.baseline)
		ratio = append(ratio, s.ns/s.baseline)
	}
	c.NS, c.Baseline, c.Ratio = median(ns), median(baseline), median(ratio)
	return c.spread(ns)
}

// wireRound makes n connections of one family and gives the cost of a SYN, of an
// adoption, and of a segment of another node's.
func (b *benchmark) wireRound(family, first, n int) (out [3]sample, err error) {
	fam := benchFamilies[family]
	var syns, acks, strangers [][]byte
	flows := make([]benchFlow, n)
	for i := range flows {
		flows[i] = nthFlow(family, first+i)
		if syns, err = appendFrame(syns, flows[i].syn); err != nil {
			return out, err
		}
	}
	answer := func(f benchFlow) bool {
		if f.client.Addr() != fam.client {
			return false // to a SYN of waitRound, of which nobody took note
		}
		b.flows[family] = append(b.flows[family], f)
		return true
	}
	if out[0], err = b.compare(syns, answer, ReasonAnswered); err != nil {
		return out, err
	}
	for _, f := range b.flows[family][first:] {
		if acks, err = appendFrame(acks, func() ([]byte, error) { return f.segment(0) }); err != nil {
			return out, err
		}
		if strangers, err = appendFrame(strangers, func() ([]byte, error) { return f.stranger().segment(0) }); err != nil {
			return out, err
		}
	}
	if out[1], err = b.compare(acks, nil, ReasonAdopted); err != nil {
		return out, err
	}
	out[2], err = b.compare(strangers, nil, ReasonForeign)
	return out, err
}

// nthFlow is connection n of a family, before its SYN.
func nthFlow(family, n int) benchFlow {
	fam := benchFamilies[family]
	return benchFlow{
		client: netip.AddrPortFrom(fam.client, uint16(1024+n)),
		vip:    netip.AddrPortFrom(fam.vip, benchPort), seq: uint32(n)<<16 + 1,
	}
}

func appendFrame(frames [][]byte, make func() ([]byte, error)) ([][]byte, error) {
	frame, err := make()
	return append(frames, frame), err
}

// stranger is a connection like this one that another node owns.
func (b benchFlow) stranger() benchFlow {
	b.client = netip.AddrPortFrom(b.client.Addr(), b.client.Port()^0x8000)
	b.ack = 77<<24 | b.ack&0xffffff
	return b
}

// newcomer is a connection that is yet to be, of another client.
func (b benchFlow) newcomer() benchFlow {
	b.client = netip.AddrPortFrom(b.client.Addr().Next(), b.client.Port())
	return b
}

// compare sends frames through the filter, which must count each under one of the
// reasons, and through the baseline.
func (b *benchmark) compare(frames [][]byte, answer func(benchFlow) bool, reasons ...Reason) (s sample, err error) {
	before, err := b.counted(reasons)
	if err != nil {
		return s, err
	}
	if s.ns, err = b.timed(b.f.objs.OnevipIngress, frames, answer); err != nil {
		return s, err
	}
	after, err := b.counted(reasons)
	if err != nil {
		return s, err
	}
	if after-before != uint64(len(frames)) {
		return s, fmt.Errorf("of %d packets, %d were counted as %s", len(frames), after-before, reasons)
	}
	s.baseline, err = b.timed(b.tools.Baseline, frames, nil)
	return s, err
}

func (b *benchmark) counted(reasons []Reason) (sum uint64, err error) {
	for _, r := range reasons {
		n, err := b.f.reason(r)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// timed puts a program on the interface, sends the frames and gives its mean
// time by the kernel's statistics.
func (b *benchmark) timed(p *ebpf.Program, frames [][]byte, answer func(benchFlow) bool) (float64, error) {
	if err := b.ingress.Update(p); err != nil {
		return 0, fmt.Errorf("put the program on the interface: %w", err)
	}
	before, err := p.Stats()
	if err != nil {
		return 0, fmt.Errorf("read the program's statistics: %w", err)
	}
	for i := 0; i < len(frames); i += wireBatch {
		if err := b.exchange(frames[i:min(i+wireBatch, len(frames))], answer); err != nil {
			return 0, err
		}
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		after, err := p.Stats()
		if err != nil {
			return 0, fmt.Errorf("read the program's statistics: %w", err)
		}
		if runs := after.RunCount - before.RunCount; runs >= uint64(len(frames)) {
			return float64(after.Runtime-before.Runtime) / float64(runs), nil
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("the program met %d of %d packets", after.RunCount-before.RunCount, len(frames))
		}
	}
}

// exchange sends frames and, if there is someone to tell, waits for as many
// SYN/ACKs; answer says whether one is among them.
func (b *benchmark) exchange(frames [][]byte, answer func(benchFlow) bool) error {
	to := &packet.Addr{HardwareAddr: benchNodeMAC}
	for _, frame := range frames {
		if _, err := b.client.WriteTo(frame, to); err != nil {
			return fmt.Errorf("send a packet: %w", err)
		}
	}
	if answer == nil {
		return nil
	}
	if err := b.client.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return fmt.Errorf("set a deadline: %w", err)
	}
	buf := make([]byte, 2048)
	for got := 0; got < len(frames); {
		n, _, err := b.client.ReadFrom(buf)
		if err != nil {
			return fmt.Errorf("wait for SYN/ACK %d of %d: %w", got+1, len(frames), err)
		}
		if f, ok := synAckOf(buf[:n]); ok && answer(f) {
			got++
		}
	}
	return nil
}
