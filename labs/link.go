// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"fmt"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/onevip/onevip/topology"
)

// defaultMTU is containerlab's, so that a file means the same to both.
const defaultMTU = 9500

// connect makes a veth pair whose ends are born in their namespaces under their
// own names, and brings both up. namespace maps a host to its namespace's name.
func connect(link topology.LabLink, namespace func(host string) string) error {
	if err := makePair(link, namespace(link.A.Node), namespace(link.B.Node)); err != nil {
		return fmt.Errorf("link %s -- %s: %w", link.A, link.B, err)
	}
	for _, end := range []topology.LabEndpoint{link.A, link.B} {
		err := inNamespace(namespace(end.Node), func() error { return raise(end.Interface) })
		if err != nil {
			return fmt.Errorf("link %s -- %s: end %s: %w", link.A, link.B, end, err)
		}
	}
	return nil
}

func makePair(link topology.LabLink, a, b string) error {
	far, err := netns.GetFromName(b)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", b, err)
	}
	defer far.Close() //nolint:errcheck // opened for reading
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = link.A.Interface, link.MTU
	if attrs.MTU == 0 {
		attrs.MTU = defaultMTU
	}
	return inNamespace(a, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: attrs, PeerName: link.B.Interface, PeerMTU: uint32(attrs.MTU), PeerNamespace: netlink.NsFd(far),
		})
	})
}

// raise switches checksum offload off and the interface up. A userspace
// datapath reads frames from a packet socket, where the checksum that the
// sender left to the hardware would be missing.
func raise(name string) error {
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("open ethtool: %w", err)
	}
	defer tool.Close()
	offloads := map[string]bool{"tx-checksum-ip-generic": false, "tx-checksum-sctp": false}
	if err := tool.Change(name, offloads); err != nil {
		return fmt.Errorf("switch tx checksum offload off: %w", err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// setLink changes one of the host's interfaces.
func (h Host) setLink(name string, change func(netlink.Link) error) error {
	return inNamespace(h.Namespace, func() error {
		link, err := netlink.LinkByName(name)
		if err == nil {
			err = change(link)
		}
		if err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
		return nil
	})
}

// macsOf lists the addresses of all interfaces that a host has, its bridges
// among them.
func macsOf(h Host) (macs []topology.MAC, err error) {
	err = inNamespace(h.Namespace, func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return fmt.Errorf("host %s: list interfaces: %w", h.Name, err)
		}
		for _, link := range links {
			if mac := link.Attrs().HardwareAddr; len(mac) == 6 && link.Attrs().Name != "lo" {
				macs = append(macs, topology.MAC(mac))
			}
		}
		return nil
	})
	return macs, err
}
