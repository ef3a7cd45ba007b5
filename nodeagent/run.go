// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// Run is the agent of one node, in the process's network namespace. It returns
// nil when ctx ends: the programs stay attached, VIPs and sysctls stay set, and
// connections go on, so that the next agent takes over without a gap. Errors:
// ErrNoInterface; another agent that runs for the node; an interface that was
// replaced while it ran (run again); or of the system.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.check(); err != nil {
		return err
	}
	release, err := lockRunDir(cfg.runDir())
	if err != nil {
		return err
	}
	defer release()
	a, err := newAgent(cfg)
	if err != nil {
		return err
	}
	return errors.Join(a.run(ctx), a.close())
}

// newAgent opens what Run needs of the machine.
func newAgent(cfg Config) (*agent, error) {
	iface, err := findInterface(cfg.Interface)
	if err != nil {
		return nil, err
	}
	about, err := describeNode(cfg, iface)
	if err != nil {
		return nil, err
	}
	sequence, err := sinceBoot()
	if err != nil {
		return nil, err
	}
	h, err := newLinuxHost(cfg.Interface, cfg.runDir())
	if err != nil {
		return nil, err
	}
	w, err := listenWire(iface)
	if err != nil {
		return nil, err
	}
	return assemble(cfg, parts{
		core: newCore(about, max(minFrame, iface.MTU), sequence),
		open: func() (filter, error) { return openFilter(cfg) },
		host: h, wire: w, check: checkService, dump: dumpConns, destroy: destroyConns, here: connsHere,
		survey:    func(services []netip.AddrPort) ([]string, error) { return survey(iface, services) },
		monotonic: bpf.Now,
	}), nil
}

func openFilter(cfg Config) (filter, error) {
	f, err := bpf.Open(bpf.Options{PinDir: cfg.PinDir, Interface: cfg.Interface})
	if err != nil {
		return nil, err
	}
	return kernelFilter{f}, nil
}

// survey is the preflight of a node that runs. An interface that was made anew
// has lost the filter and the packet socket.
func survey(iface *net.Interface, services []netip.AddrPort) ([]string, error) {
	now, err := net.InterfaceByName(iface.Name)
	if err == nil && now.Index != iface.Index {
		return nil, fmt.Errorf("interface %s was replaced: the agent must start anew to attach to it", iface.Name)
	}
	return Preflight(iface.Name, services), nil
}

// describeNode gives the parts of the agent's record that do not change.
func describeNode(cfg Config, iface *net.Interface) (state.Agent, error) {
	b, err := currentBoot()
	if err != nil {
		return state.Agent{}, err
	}
	link, err := netlink.LinkByIndex(iface.Index)
	if err != nil {
		return state.Agent{}, fmt.Errorf("look at interface %s: %w", iface.Name, err)
	}
	addrs, err := addressesOf(link)
	if err != nil {
		return state.Agent{}, err
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	mac, err := topology.ParseMAC(iface.HardwareAddr.String())
	if err != nil {
		return state.Agent{}, fmt.Errorf("interface %s is no Ethernet interface: %w", iface.Name, err)
	}
	return state.Agent{
		Schema: state.Schema, Name: cfg.Node, Incarnation: formatIncarnation(b.incarnation()),
		MAC: mac, Interface: iface.Name, Addresses: addrs,
		Version: cfg.Version, Kernel: kernelRelease(), Started: time.Now().UTC(),
	}, nil
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}
