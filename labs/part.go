// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/onevip/onevip/topology"
)

// partLabel, a dot and a name declare a part of a host, a program that may fail
// alone: "onevip.part.agent: sh /common/agent.sh". The value starts it. It
// writes its process ids to $ONEVIP_RUN/<name>.pid, and does not start while
// $ONEVIP_RUN/<name>.held is there.
const partLabel = "onevip.part"

// checkPart refuses a part that the host does not have, and says who has.
func (r *Running) checkPart(h Host, part string) error {
	label := partLabel + "." + part
	if h.Labels[label] != "" {
		return nil
	}
	var having []string
	for _, other := range r.Hosts {
		if other.Labels[label] != "" {
			having = append(having, other.Name)
		}
	}
	switch {
	case len(having) > 0:
		return fmt.Errorf("host %s has no %s; write one of: %s", h.Name, part, strings.Join(having, ", "))
	case part == "etcd":
		return errors.New("no host of this lab has an etcd of its own: it lives in the controller's process, and controller-kill ends both")
	}
	return fmt.Errorf("no host of lab %s has a label %s", r.Name, label)
}

func (h Host) pidFile(part string) string  { return filepath.Join(h.Dir, part+".pid") }
func (h Host) holdFile(part string) string { return filepath.Join(h.Dir, part+".held") }

// partProcesses are the living processes of a part. A number in its file that
// another process has by now, in no namespace of the host, is none.
func (h Host) partProcesses(part string) ([]Process, error) {
	text, err := os.ReadFile(h.pidFile(part))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", part, err)
	}
	all, err := h.processes()
	words := strings.Fields(string(text))
	return slices.DeleteFunc(all, func(p Process) bool { return !slices.Contains(words, strconv.Itoa(p.PID)) }), err
}

// signalPart sends a signal to all processes of a part, and gives them.
func (h Host) signalPart(part string, sig syscall.Signal) ([]Process, error) {
	living, err := h.partProcesses(part)
	for _, p := range living {
		p.signal(sig)
	}
	return living, err
}

// killHeld kills a part. The hold is there first: whoever restarts it at once
// must find it.
func killHeld(_ *Running, h *Host, s step) error {
	if err := h.needPart(s.Part); err != nil {
		return err
	}
	if err := os.WriteFile(h.holdFile(s.Part), nil, 0o644); err != nil {
		return fmt.Errorf("hold %s down: %w", s.Part, err)
	}
	return untilNone(func() ([]Process, error) { return h.signalPart(s.Part, syscall.SIGKILL) })
}

func (h Host) needPart(part string) error {
	living, err := h.partProcesses(part)
	if err == nil && len(living) == 0 {
		err = fmt.Errorf("its %s does not run", part)
	}
	return err
}

// startHeld lets a part start again, and starts it if nobody else has.
func startHeld(r *Running, h *Host, s step) error {
	if err := os.Remove(h.holdFile(s.Part)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("let %s start: %w", s.Part, err)
	}
	living, err := h.partProcesses(s.Part)
	if err != nil || len(living) > 0 {
		return err
	}
	argv, err := topology.SplitWords(h.Labels[partLabel+"."+s.Part])
	if err != nil {
		return fmt.Errorf("label %s.%s: %w", partLabel, s.Part, err)
	}
	cmd, err := h.startDetached(context.Background(), argv)
	if err != nil {
		return err
	}
	go cmd.Wait() //nolint:errcheck // so that it is no zombie of this process
	if !slices.Equal(translateAll(argv, h.Binds), h.Command) {
		return nil
	}
	h.Process, err = processOf(cmd.Process.Pid)
	return errors.Join(err, r.save())
}

func pausePartOf(_ *Running, h *Host, s step) error {
	if err := h.needPart(s.Part); err != nil {
		return err
	}
	_, err := h.signalPart(s.Part, syscall.SIGSTOP)
	return err
}

func resumePart(_ *Running, h *Host, s step) error {
	_, err := h.signalPart(s.Part, syscall.SIGCONT)
	return err
}
