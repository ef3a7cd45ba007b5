// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/onevip/onevip/topology"
)

const (
	// readyLabel, alone or followed by a dot and a name, holds a command that
	// succeeds in its host once the lab works.
	readyLabel  = "onevip.ready"
	readyLimit  = 30 * time.Second // for all probes together
	readyPeriod = 100 * time.Millisecond
	tailLines   = 10
)

// probe is a command that tells whether the lab works.
type probe struct {
	host Host
	argv []string
}

func (p probe) String() string { return p.host.Name + ": " + strings.Join(p.argv, " ") }

// NotReadyError is returned by Up for a lab that was built but did not work in
// time, or whose host gave up.
type NotReadyError struct {
	Lab    string
	Probe  string // that failed last: host: command
	Output string // of it
	Hosts  []HostFailure
}

// HostFailure is what is known of a host of a lab that did not work.
type HostFailure struct {
	Host string
	Exit string // how its command ended; empty: it still ran
	Log  string // its last lines
}

func (e *NotReadyError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "lab %s does not work: probe %s", e.Lab, e.Probe)
	if e.Output != "" {
		fmt.Fprintf(&text, ": %s", e.Output)
	}
	for _, h := range e.Hosts {
		state := "still ran"
		if h.Exit != "" {
			state = "ended: " + h.Exit
		}
		fmt.Fprintf(&text, "\nhost %s, its command %s\n  %s", h.Host, state, strings.ReplaceAll(h.Log, "\n", "\n  "))
	}
	return text.String()
}

// probes collects the readiness probes of all hosts.
func (r *Running) probes() ([]probe, error) {
	var probes []probe
	for _, h := range r.Hosts {
		for _, label := range slices.Sorted(maps.Keys(h.Labels)) {
			if label != readyLabel && !strings.HasPrefix(label, readyLabel+".") {
				continue
			}
			argv, err := topology.SplitWords(h.Labels[label])
			if err != nil || len(argv) == 0 {
				return nil, fmt.Errorf("host %s: label %s is no command: %q", h.Name, label, h.Labels[label])
			}
			if _, err := h.lookPath(argv[0]); err != nil {
				return nil, fmt.Errorf("label %s: %w", label, err)
			}
			probes = append(probes, probe{h, argv})
		}
	}
	return probes, nil
}

// waitReady repeats each probe until it succeeds, a host's command fails, or
// the time is up.
func (b *builder) waitReady(ctx context.Context, probes []probe) error {
	limited, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for _, p := range probes {
		b.say("waiting for %s", p)
		if output, ok := b.repeat(limited, p); !ok {
			return &NotReadyError{Lab: b.Name, Probe: p.String(), Output: output, Hosts: b.report()}
		}
	}
	return nil
}

// repeat runs a probe until it succeeds; if it never does, the output of its
// last run is given.
func (b *builder) repeat(ctx context.Context, p probe) (output string, ok bool) {
	for !b.anyFailed() {
		text, err := p.run(ctx)
		if err == nil {
			return "", true
		}
		if ctx.Err() == nil || output == "" { // else it was cut short
			output = strings.TrimSpace(fmt.Sprintf("%s (%v)", text, err))
		}
		select {
		case <-ctx.Done():
			return output, false
		case <-time.After(readyPeriod):
		}
	}
	return output, false
}

// run runs the probe once.
func (p probe) run(ctx context.Context) (output string, err error) {
	cmd, err := p.host.command(ctx, p.argv)
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := p.host.start(cmd); err != nil {
		return "", err
	}
	err = cmd.Wait()
	return text.String(), err
}

// anyFailed tells whether a host's command ended otherwise than well.
func (b *builder) anyFailed() bool {
	b.lock.Lock()
	defer b.lock.Unlock()
	for _, err := range b.exits {
		if err.Error() != "exit status 0" {
			return true
		}
	}
	return false
}

// report tells of the hosts whose command ended, or of all that have one if
// none did.
func (b *builder) report() []HostFailure {
	b.lock.Lock()
	defer b.lock.Unlock()
	var ended, running []HostFailure
	for _, h := range b.Hosts {
		entry := HostFailure{Host: h.Name, Log: tail(h.Log(), tailLines)}
		if err, gone := b.exits[h.Name]; gone {
			entry.Exit = err.Error()
			ended = append(ended, entry)
		} else if len(h.Command) > 0 {
			running = append(running, entry)
		}
	}
	if len(ended) > 0 {
		return ended
	}
	return running
}
