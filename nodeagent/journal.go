// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
)

// journal remembers what the agent changed on its machine, so that a clean-up,
// also after a crash, restores what was there before. It is written before the
// change is made. A boot other than the current one makes it void: the changes
// are gone with the kernel, or the network namespace, that held them.
type journal struct {
	Schema    int             `json:"schema"`
	Boot      boot            `json:"boot"`
	Sysctls   []changedSysctl `json:"sysctls,omitempty"`   // in the order they were changed
	Addresses []netip.Addr    `json:"addresses,omitempty"` // added to lo
	RaisedLo  bool            `json:"raised_lo,omitempty"` // lo was down
}

// changedSysctl is one key, as a path under /proc/sys, with its original value
// and the one that it was set to.
type changedSysctl struct {
	Key  string `json:"key"`
	Was  string `json:"was"`
	Made string `json:"made"`
}

const journalSchema = 1

// loadJournal reads the journal of a boot. Where there is none, or one of
// another boot, it is empty.
func loadJournal(path string, b boot) (*journal, error) {
	empty := &journal{Schema: journalSchema, Boot: b}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal of changes: %w", err)
	}
	j := &journal{}
	if err := json.Unmarshal(raw, j); err != nil {
		return nil, fmt.Errorf("journal of changes %s is damaged: %w; restore the sysctls by hand and delete it", path, err)
	}
	if j.Boot != b {
		return empty, nil
	}
	if j.Schema != journalSchema {
		return nil, fmt.Errorf("journal of changes %s has schema %d, want %d: clean up with the version that wrote it",
			path, j.Schema, journalSchema)
	}
	return j, nil
}

// save replaces the file as a whole, and deletes it when nothing is left to restore.
func (j *journal) save(path string) error {
	if len(j.Sysctls) == 0 && len(j.Addresses) == 0 && !j.RaisedLo {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete the journal of changes: %w", err)
		}
		return nil
	}
	raw, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the journal of changes: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the journal of changes: %w", err)
	}
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the journal of changes: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the journal of changes: %w", err)
	}
	return nil
}

// sysctl gives the entry of a key, nil if it was not changed.
func (j *journal) sysctl(key string) *changedSysctl {
	i := slices.IndexFunc(j.Sysctls, func(c changedSysctl) bool { return c.Key == key })
	if i < 0 {
		return nil
	}
	return &j.Sysctls[i]
}

// dropAddress forgets an address that was removed.
func (j *journal) dropAddress(a netip.Addr) {
	j.Addresses = slices.DeleteFunc(j.Addresses, func(b netip.Addr) bool { return a == b })
}
