// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addVIPs puts addresses on lo that are not there yet. The kernel then delivers
// their packets locally and lets servers listen on them. What is added is in
// the journal, by save, before.
func (j *journal) addVIPs(vips []netip.Addr, save func() error) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := j.raise(lo, save); err != nil {
		return err
	}
	there, err := addressesOf(lo)
	if err != nil {
		return err
	}
	for _, vip := range vips {
		if slices.Contains(there, vip) {
			continue
		}
		if err := j.addVIP(lo, vip, save); err != nil {
			return fmt.Errorf("add %s to lo: %w", vip, err)
		}
	}
	return awaitLocal(vips)
}

const (
	localDeadline = time.Second
	localPeriod   = 2 * time.Millisecond
)

// awaitLocal waits until the kernel delivers packets for all addresses locally.
// An IPv6 address gets its route by a work queue, a little later than it shows;
// a health check in between would find the VIP out of reach.
func awaitLocal(vips []netip.Addr) error {
	tick := time.NewTicker(localPeriod)
	defer tick.Stop()
	deadline := time.Now().Add(localDeadline)
	for _, vip := range vips {
		for !isLocal(vip) {
			if time.Now().After(deadline) {
				return fmt.Errorf("%s is on lo, but the kernel does not route it there after %s", vip, localDeadline)
			}
			<-tick.C
		}
	}
	return nil
}

func isLocal(vip netip.Addr) bool {
	routes, err := netlink.RouteGet(vip.AsSlice())
	return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
}

func (j *journal) addVIP(lo netlink.Link, vip netip.Addr, save func() error) error {
	if !slices.Contains(j.Addresses, vip) {
		j.Addresses = append(j.Addresses, vip)
		if err := save(); err != nil {
			return err
		}
	}
	err := netlink.AddrAdd(lo, vipAddr(vip))
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// raise brings lo up: a new network namespace has it down.
func (j *journal) raise(lo netlink.Link, save func() error) error {
	if lo.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	j.RaisedLo = true
	if err := save(); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}

// removeVIPs takes those of the agent's own addresses from lo that keep does
// not list. An address that is gone already is no error.
func (j *journal) removeVIPs(keep []netip.Addr, save func() error) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	for _, vip := range slices.Clone(j.Addresses) {
		if slices.Contains(keep, vip) {
			continue
		}
		err := netlink.AddrDel(lo, vipAddr(vip))
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove %s from lo: %w", vip, err)
		}
		j.dropAddress(vip)
		if err := save(); err != nil {
			return err
		}
	}
	return nil
}

// vipAddr is how a VIP stands on lo: one address and no network; IPv4 with host
// scope and IPv6 deprecated, so that the node's own connections to others do
// not take it as their source; without duplicate address detection, for all
// nodes have it.
func vipAddr(vip netip.Addr) *netlink.Addr {
	a := &netlink.Addr{IPNet: netlink.NewIPNet(vip.AsSlice())}
	if vip.Is4() {
		a.Scope = unix.RT_SCOPE_HOST
		return a
	}
	a.Flags = unix.IFA_F_NODAD
	a.ValidLft, a.PreferedLft = math.MaxUint32, 0
	return a
}

// addressesOf lists the addresses of an interface.
func addressesOf(link netlink.Link) ([]netip.Addr, error) {
	list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the addresses of %s: %w", link.Attrs().Name, err)
	}
	var out []netip.Addr
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			out = append(out, addr.Unmap())
		}
	}
	return out, nil
}
