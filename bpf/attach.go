// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// attachIngress puts the filter in front of the interface's stack. A link that
// is there already gets the new program in one step.
func (f *Filter) attachIngress(ifindex int) error {
	pin := filepath.Join(f.pins, "ingress")
	old, err := link.LoadPinnedLink(pin, nil)
	if err == nil && attachedTo(old, ifindex) {
		f.keep = append(f.keep, old)
		if err := old.Update(f.objs.OnevipIngress); err != nil {
			return fmt.Errorf("replace the attached filter: %w", err)
		}
		return nil
	}
	if err == nil {
		err = dropLink(old)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pinned link %s: %w", pin, err)
	}
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: ifindex,
		Program:   f.objs.OnevipIngress,
		Attach:    ebpf.AttachTCXIngress,
		Anchor:    link.Head(),
	})
	if err != nil {
		return fmt.Errorf("%w: attach to tcx ingress (Linux 6.6): %w", ErrUnsupportedKernel, err)
	}
	return f.pin(l, pin)
}

// attachedTo tells whether the link still hangs on that interface: one that was
// deleted and made again has another index, and the old link hangs nowhere.
func attachedTo(l link.Link, ifindex int) bool {
	info, err := l.Info()
	if err != nil || info.TCX() == nil {
		return false
	}
	return int(info.TCX().Ifindex) == ifindex
}

// attachTracing attaches what counts sockets and RSTs. A tracing link can't be
// updated: for a moment nothing is counted, which SetActive mends.
func (f *Filter) attachTracing(name string, program *ebpf.Program) error {
	pin := filepath.Join(f.pins, name)
	old, err := link.LoadPinnedLink(pin, nil)
	if err == nil {
		err = dropLink(old)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pinned link %s: %w", pin, err)
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: program})
	if err != nil {
		return fmt.Errorf("%w: trace for %s: %w", ErrUnsupportedKernel, name, err)
	}
	return f.pin(l, pin)
}

func (f *Filter) pin(l link.Link, path string) error {
	if err := l.Pin(path); err != nil {
		return errors.Join(fmt.Errorf("pin %s: %w", path, err), l.Close())
	}
	f.keep = append(f.keep, l)
	return nil
}

func dropLink(l link.Link) error { return errors.Join(l.Unpin(), l.Close()) }

// explainLoad says what the kernel lacks. It probes only now: a version number
// would guess, and a kernel that loads the programs needs no probe.
func explainLoad(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("load the BPF programs: not permitted (needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or root): %w", err)
	case missesKfunc():
		return fmt.Errorf("%w: no bpf_sk_assign_tcp_reqsk: needs Linux 6.9 with CONFIG_SYN_COOKIES and BTF: %w", ErrUnsupportedKernel, err)
	case errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("%w: %w", ErrUnsupportedKernel, err)
	}
	return fmt.Errorf("load the BPF programs: %w", err)
}

func missesKfunc() bool {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return false
	}
	var fn *btf.Func
	return errors.Is(kernel.TypeByName("bpf_sk_assign_tcp_reqsk", &fn), btf.ErrNotFound)
}
