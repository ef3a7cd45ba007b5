// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// processes lists what runs in the host. Nothing may be done to the host from
// inside of it: that would hit who does it.
func (h Host) processes() ([]Process, error) {
	own, err := namespaceID("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	id, err := namespaceID(netnsPath(h.Namespace))
	if err != nil {
		return nil, err
	}
	if id == own {
		return nil, errors.New("this process runs inside of it; do it from outside")
	}
	return processesIn(map[nsID]bool{id: true})
}

// killHost kills all processes of the host as a power failure would, and returns
// when they are gone.
func killHost(_ *Running, h *Host, _ step) error {
	return untilNone(func() ([]Process, error) {
		living, err := h.processes()
		for _, p := range living {
			p.signal(syscall.SIGKILL)
		}
		return living, err
	})
}

// untilNone repeats look until it finds nothing more.
func untilNone(look func() ([]Process, error)) error {
	for deadline := time.Now().Add(killLimit); ; time.Sleep(time.Millisecond) {
		left, err := look()
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes go on, the first is %d", len(left), left[0].PID)
		}
	}
}

// stopHost stops all processes, those that are started meanwhile too. What holds
// frames back is no process of the host.
func stopHost(_ *Running, h *Host, _ step) error {
	return untilNone(func() ([]Process, error) {
		all, err := h.processes()
		moving := slices.DeleteFunc(all, func(p Process) bool { return p.stopped() || p.isDelayer() })
		for _, p := range moving {
			p.signal(syscall.SIGSTOP)
		}
		return moving, err
	})
}

func continueHost(_ *Running, h *Host, _ step) error {
	all, err := h.processes()
	for _, p := range all {
		p.signal(syscall.SIGCONT)
	}
	return err
}
