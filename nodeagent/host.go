// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// host is what the agent changes on its machine besides the filter. All of it is
// in the current network namespace.
type host interface {
	// prepare sets the sysctls.
	prepare() error
	// removeVIPs takes those of the agent's addresses away that are not in keep.
	removeVIPs(keep []netip.Addr) error
	// addVIPs puts those on lo that are missing.
	addVIPs(vips []netip.Addr) error
}

// linuxHost is the real host.
type linuxHost struct {
	iface string
	path  string // of the journal
	j     *journal
}

var _ host = (*linuxHost)(nil)

func newLinuxHost(iface, runDir string) (*linuxHost, error) {
	b, err := currentBoot()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(runDir, "changes.json")
	j, err := loadJournal(path, b)
	if err != nil {
		return nil, err
	}
	return &linuxHost{iface: iface, path: path, j: j}, nil
}

func (h *linuxHost) save() error { return h.j.save(h.path) }

func (h *linuxHost) prepare() error { return h.j.setSysctls(wantedSysctls(h.iface), h.save) }

func (h *linuxHost) removeVIPs(keep []netip.Addr) error { return h.j.removeVIPs(keep, h.save) }

func (h *linuxHost) addVIPs(vips []netip.Addr) error { return h.j.addVIPs(vips, h.save) }

// restore undoes all that the journal says; what fails stays in it.
func (h *linuxHost) restore() error {
	err := h.j.restoreSysctls()
	if h.j.RaisedLo {
		err = errors.Join(err, h.lowerLo())
	}
	return errors.Join(err, h.save())
}

func (h *linuxHost) lowerLo() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetDown(lo); err != nil {
		return fmt.Errorf("bring lo down again: %w", err)
	}
	h.j.RaisedLo = false
	return nil
}

// errRunning is returned when another agent has the lock.
var errRunning = errors.New("another agent runs for this node")

// lockRunDir makes sure that one agent at most runs, or cleans up, for a node.
// The lock goes with the process.
func lockRunDir(runDir string) (release func(), err error) {
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return nil, fmt.Errorf("create the run folder: %w", err)
	}
	path := filepath.Join(runDir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: stop it first (it holds %s)", errRunning, path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
