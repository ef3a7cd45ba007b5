// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/vishvananda/netlink"
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
