// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/onevip/onevip/topology"
)

const (
	runRoot = "/run/onevip/labs"
	// dataRoot takes what is too large for /run, which is memory on most machines.
	dataRoot = "/var/lib/onevip/labs"
	pinRoot  = "/sys/fs/bpf/onevip"

	stateFile = "lab.json"
)

var (
	// ErrNotUp is returned by all that need a running lab, if there is none of that name.
	ErrNotUp = errors.New("lab is not up")
	// ErrAlreadyUp is returned by Up.
	ErrAlreadyUp = errors.New("lab is up already")
	// ErrBuilding is returned by Up and Down while another process builds the lab.
	ErrBuilding = errors.New("lab is being built")
)

// Running is a lab that is up, or that is being built. It is what lab.json in
// its folder says.
type Running struct {
	Name    string    `json:"name"`
	Source  string    `json:"source"`  // the name or path that it was built from
	Folder  string    `json:"folder"`  // of the lab's files
	Builder Process   `json:"builder"` // who builds it, or built it; zero once it gave up
	Ready   bool      `json:"ready"`   // every probe succeeded once
	Since   time.Time `json:"since"`
	Hosts   []Host    `json:"hosts"`

	Links  []topology.LabLink `json:"links,omitempty"`
	Faults []ActiveFault      `json:"faults,omitempty"` // injected and not healed
}

// Host is one namespace of a lab and what was started there.
type Host struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"` // under /run/netns
	Labels    map[string]string `json:"labels,omitempty"`
	Env       []string          `json:"env"` // of its processes
	Binds     []bind            `json:"binds,omitempty"`
	Command   []string          `json:"command,omitempty"`
	Process   Process           `json:"process,omitzero"` // runs Command
	Setup     [][]string        `json:"setup,omitempty"`  // runs once, after each boot
	Dir       string            `json:"dir"`              // its files: log, sockets, pids
	Data      string            `json:"data"`             // its large files
	Pins      string            `json:"pins"`             // its folder in the BPF file system
}

// Log is the file with the output of the host's command.
func (h Host) Log() string { return filepath.Join(h.Dir, "log") }

// Dir is the lab's folder.
func (r *Running) Dir() string { return filepath.Join(runRoot, r.Name) }

// data is the folder for its large files.
func (r *Running) data() string { return filepath.Join(dataRoot, r.Name) }

// Host finds a host by its name.
func (r *Running) Host(name string) (Host, error) {
	i := slices.IndexFunc(r.Hosts, func(h Host) bool { return h.Name == name })
	if i >= 0 {
		return r.Hosts[i], nil
	}
	names := make([]string, len(r.Hosts))
	for i, h := range r.Hosts {
		names[i] = h.Name
	}
	return Host{}, fmt.Errorf("lab %s has no host %q; write one of: %s", r.Name, name, strings.Join(names, ", "))
}

// Labelled gives the hosts that carry a label with that value.
func (r *Running) Labelled(label, value string) []Host {
	var found []Host
	for _, h := range r.Hosts {
		if h.Labels[label] == value {
			found = append(found, h)
		}
	}
	return found
}

// Building tells whether a process builds the lab just now. A lab that is
// neither Building nor Ready lost its builder, and Down clears it up.
func (r *Running) Building() bool { return !r.Ready && r.Builder.Alive() }

// save replaces lab.json as a whole.
func (r *Running) save() error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("save lab: %w", err)
	}
	fresh := filepath.Join(r.Dir(), stateFile+".new")
	if err := os.WriteFile(fresh, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("save lab: %w", err)
	}
	if err := os.Rename(fresh, filepath.Join(r.Dir(), stateFile)); err != nil {
		return fmt.Errorf("save lab: %w", err)
	}
	return nil
}

// read gives the lab with that name. A folder without lab.json is a lab of
// which nothing else is left, or was made.
func read(name string) (*Running, error) {
	r := &Running{Name: name}
	if _, err := os.Stat(r.Dir()); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotUp, name)
	}
	data, err := os.ReadFile(filepath.Join(r.Dir(), stateFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, nil
	case err != nil:
		return nil, fmt.Errorf("read lab %s: %w", name, err)
	}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("read lab %s: %w", name, err)
	}
	return r, nil
}

// List gives the labs that are up or half built, by name.
func List() ([]*Running, error) {
	entries, err := os.ReadDir(runRoot)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var labs []*Running
	for _, e := range entries {
		r, err := read(e.Name())
		switch {
		case errors.Is(err, ErrNotUp): // taken down since
		case err != nil:
			return nil, err
		default:
			labs = append(labs, r)
		}
	}
	return labs, nil
}

// Find gives the running lab with that name, or the only one if name is empty.
func Find(name string) (*Running, error) {
	if name != "" {
		name = filepath.Base(name) // so that the path it was started with will do
		if !topology.ValidLabName(name) {
			return nil, fmt.Errorf("%w: %s", ErrNotUp, name)
		}
		return read(name)
	}
	labs, err := List()
	switch {
	case err != nil:
		return nil, err
	case len(labs) == 0:
		return nil, fmt.Errorf("%w: no lab is; start one with: onevip lab up NAME", ErrNotUp)
	case len(labs) > 1:
		names := make([]string, len(labs))
		for i, r := range labs {
			names[i] = r.Name
		}
		return nil, fmt.Errorf("several labs are up; name one of: %s", strings.Join(names, ", "))
	}
	return labs[0], nil
}
