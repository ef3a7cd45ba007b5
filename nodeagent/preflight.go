// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
)

// ErrNoInterface is returned by Run, wrapped, when the interface is missing.
var ErrNoInterface = errors.New("interface not found")

// Preflight looks at the calling thread's network namespace for what would keep
// connections to the services from working, and tells it in words, each with
// the remedy. Without services it looks at what does not depend on them. It
// changes nothing.
func Preflight(iface string, services []netip.AddrPort) []string {
	var out []string
	for _, look := range []func() (string, error){
		func() (string, error) { return lookAtInterface(iface) },
		func() (string, error) { return lookAtLRO(iface) },
		lookAtConntrack,
		func() (string, error) { return lookAtListeners(services) },
		func() (string, error) { return lookAtVIPs(services) },
	} {
		finding, err := look()
		if err != nil {
			finding = "could not check: " + err.Error()
		}
		if finding != "" {
			out = append(out, finding)
		}
	}
	return out
}

// findInterface gives the interface, or ErrNoInterface with what there is.
func findInterface(name string) (*net.Interface, error) {
	iface, err := net.InterfaceByName(name)
	if err == nil {
		return iface, nil
	}
	all, _ := net.Interfaces()
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return nil, fmt.Errorf("%w: %q; this network namespace has: %s", ErrNoInterface, name, strings.Join(names, ", "))
}

func lookAtInterface(name string) (string, error) {
	iface, err := findInterface(name)
	if err != nil {
		return err.Error(), nil
	}
	if iface.Flags&net.FlagUp == 0 {
		return fmt.Sprintf("interface %s is down: ip link set %s up", name, name), nil
	}
	if iface.MTU < 1280 {
		return fmt.Sprintf("interface %s has MTU %d, less than IPv6 needs: ip link set %s mtu 1500", name, iface.MTU, name), nil
	}
	return "", nil
}

// lookAtLRO: frames merged by the card are longer than what the client sent,
// and the filter's answers would be wrong.
func lookAtLRO(name string) (string, error) {
	if _, err := net.InterfaceByName(name); err != nil {
		return "", nil // said by lookAtInterface
	}
	e, err := ethtool.NewEthtool()
	if err != nil {
		return "", fmt.Errorf("large receive offload of %s: %w", name, err)
	}
	defer e.Close()
	features, err := e.Features(name)
	if err != nil {
		return "", fmt.Errorf("large receive offload of %s: %w", name, err)
	}
	if features["rx-lro"] {
		return fmt.Sprintf("large receive offload is on: ethtool -K %s lro off", name), nil
	}
	return "", nil
}

// lookAtConntrack: the node never saw the SYN that conntrack asks for.
func lookAtConntrack() (string, error) {
	value, err := readSysctl("net/netfilter/nf_conntrack_tcp_loose")
	if err != nil || value != "0" {
		return "", nil // no conntrack here, or a tolerant one
	}
	return "nf_conntrack_tcp_loose is 0: conntrack takes adopted connections for invalid, since this node " +
		"sends no SYN/ACK of its own for them: sysctl -w net.netfilter.nf_conntrack_tcp_loose=1", nil
}

// lookAtListeners finds listeners that were opened with MPTCP before it was
// switched off. They stay so, and adoption is refused.
func lookAtListeners(services []netip.AddrPort) (string, error) {
	var found []string
	err := dumpSockets(diagQuery{states: 1 << tcpListen, withULP: true}, func(s diagSocket) {
		if s.isMPTCP() && servesAny(s.local, services) {
			found = append(found, s.local.String())
		}
	})
	if err != nil {
		return "", fmt.Errorf("listeners: %w", err)
	}
	if len(found) == 0 {
		return "", nil
	}
	slices.Sort(found)
	return fmt.Sprintf("listening with MPTCP at %s: connections to it can not be adopted and hang; restart the server "+
		"(net.mptcp.enabled is 0 now), or run it with GODEBUG=multipathtcp=0 if it is a Go program",
		strings.Join(slices.Compact(found), ", ")), nil
}

// servesAny tells whether a listener at local takes connections to a service.
func servesAny(local netip.AddrPort, services []netip.AddrPort) bool {
	return slices.ContainsFunc(services, func(s netip.AddrPort) bool {
		return s.Port() == local.Port() && (local.Addr().IsUnspecified() || local.Addr() == s.Addr())
	})
}

// lookAtVIPs finds VIPs on other interfaces than lo: the node would answer
// neighbour solicitations for them, and lead all clients to itself.
func lookAtVIPs(services []netip.AddrPort) (string, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return "", fmt.Errorf("addresses: %w", err)
	}
	for _, a := range list {
		addr, _ := netip.AddrFromSlice(a.IP)
		addr = addr.Unmap()
		isVIP := slices.ContainsFunc(services, func(s netip.AddrPort) bool { return s.Addr() == addr })
		if !isVIP {
			continue
		}
		link, err := netlink.LinkByIndex(a.LinkIndex)
		if err != nil || link.Attrs().Name == "lo" {
			continue
		}
		name := link.Attrs().Name
		return fmt.Sprintf("VIP %s is on interface %s, and this node answers ARP or neighbour solicitations for it: "+
			"ip address del %s dev %s", addr, name, a.IPNet, name), nil
	}
	return "", nil
}
