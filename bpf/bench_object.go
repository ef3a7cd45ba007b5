// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
)

// loadUnpinned loads the programs for the calling thread's network namespace,
// attached to nothing and pinned nowhere: to be run by hand, for a measurement
// or a test. Its tables end with it. mtu is of the interface that packets are
// said to come in by.
func loadUnpinned(opts Options, mtu int) (*Filter, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("raise the limit of locked memory: %w", err)
	}
	spec, err := loadOnevip()
	if err != nil {
		return nil, fmt.Errorf("read the BPF object: %w", err)
	}
	if err := opts.bound(spec); err != nil {
		return nil, err
	}
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinNone
	}
	cookie, err := netnsCookie()
	if err != nil {
		return nil, err
	}
	if err := spec.Variables["netns_cookie"].Set(cookie); err != nil {
		return nil, fmt.Errorf("set netns_cookie: %w", err)
	}
	f := &Filter{offsets: map[uint32]int64{}}
	if err := spec.LoadAndAssign(&f.objs, nil); err != nil {
		return nil, explainLoad(err)
	}
	if err := f.makeClocks(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	f.config.Mss4, f.config.Mss6 = clampMSS(mtu-40), clampMSS(mtu-60)
	return f, nil
}

// benchTools is what the programs are measured with.
type benchTools struct {
	Baseline *ebpf.Program `ebpf:"bench_baseline"`
	Bare     *ebpf.Program `ebpf:"bench_bare"`
	Again    *ebpf.Program `ebpf:"bench_again"`
	Pick     *ebpf.Program `ebpf:"bench_pick"`
	Frames   *ebpf.Map     `ebpf:"frames"`
	Targets  *ebpf.Map     `ebpf:"targets"`
}

// loadTools loads them. The baseline reads the configuration of f, and picks are from its tables.
func loadTools(f *Filter) (*benchTools, error) {
	spec, err := loadBench()
	if err != nil {
		return nil, fmt.Errorf("read the BPF object to measure with: %w", err)
	}
	of := map[string]*ebpf.Map{
		"globals": f.objs.Globals, "configs": f.objs.Configs, "vips": f.objs.Vips, "reasons": f.objs.Reasons,
		"loads": f.objs.Loads, "assigned": f.objs.Assigned, "trees": f.objs.Trees, "source_hash": f.objs.SourceHash,
		"rules": f.objs.Rules, "localities": f.objs.Localities, "inspected": f.objs.Inspected,
	}
	for name, m := range of {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	var tools benchTools
	err = spec.LoadAndAssign(&tools, &ebpf.CollectionOptions{MapReplacements: of})
	if err != nil {
		return nil, fmt.Errorf("load the programs to measure with: %w", err)
	}
	return &tools, nil
}

// Close unloads the programs.
func (t *benchTools) Close() error {
	return errors.Join(t.Baseline.Close(), t.Bare.Close(), t.Again.Close(), t.Pick.Close(), t.Frames.Close(), t.Targets.Close())
}
