// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// nextNamespace is where a host's new life is made, beside the old one.
func (h Host) nextNamespace() string { return h.Namespace + "-next" }

// renewHost gives a crashed host a new namespace: no socket, route or program of
// the old life is left, and what tells one boot from another is another. Its
// cables move over without a loss of carrier. What was done is not done again
// when it is repeated after a failure.
func renewHost(r *Running, h *Host, _ step) error {
	next := h.nextNamespace()
	if namespaceThere(h.Namespace) || !namespaceThere(next) {
		if err := r.moveOver(h, next); err != nil {
			return err
		}
	}
	if err := replaceNamespace(h.Namespace, next); err != nil {
		return err
	}
	return h.forget()
}

// moveOver kills what is left in the old namespace, and moves the host's
// interfaces to the new one.
func (r *Running) moveOver(h *Host, next string) error {
	if err := killHost(r, h, step{}); err != nil {
		return err
	}
	if !namespaceThere(next) {
		if err := makeNamespace(next); err != nil {
			return err
		}
	}
	for _, end := range r.ends(h.Name) {
		if err := moveLink(end.near.Interface, h.Namespace, next); err != nil {
			return fmt.Errorf("move %s to the new namespace: %w", end.near, err)
		}
	}
	return nil
}

// moveLink moves an interface and brings it up in one request: the kernel looks
// at the peer's carrier only afterwards, and finds it there.
func moveLink(name, from, to string) error {
	target, err := netns.GetFromName(to)
	if err != nil {
		return err
	}
	defer target.Close() //nolint:errcheck // opened for reading
	return inNamespace(from, func() error {
		link, err := netlink.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil // moved already
		}
		if err != nil {
			return err
		}
		return setNamespaceAndUp(link, int(target))
	})
}

func setNamespaceAndUp(link netlink.Link, namespace int) error {
	request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(link.Attrs().Index)
	msg.Flags, msg.Change = unix.IFF_UP, unix.IFF_UP
	request.AddData(msg)
	request.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(namespace))))
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// replaceNamespace gives the name of one namespace to another one.
func replaceNamespace(name, by string) error {
	if err := removeNamespace(name); err != nil {
		return err
	}
	file, err := os.Create(netnsPath(name))
	if err != nil {
		return fmt.Errorf("name namespace %s: %w", name, err)
	}
	_ = file.Close() // nothing was written
	if err := unix.Mount(netnsPath(by), netnsPath(name), "none", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("name namespace %s: %w", name, err)
	}
	return removeNamespace(by)
}

// forget removes what a boot removes: pins, and all of the run folder but the log.
func (h Host) forget() error {
	entries, err := os.ReadDir(h.Dir)
	failures := []error{err, os.RemoveAll(h.Pins)}
	for _, e := range entries {
		if path := filepath.Join(h.Dir, e.Name()); path != h.Log() {
			failures = append(failures, os.RemoveAll(path))
		}
	}
	return errors.Join(failures...)
}

// startHost starts the host as the builder did.
func startHost(r *Running, h *Host, _ step) error {
	cmd, err := h.startCommand()
	if err != nil {
		return err
	}
	if cmd != nil {
		go cmd.Wait() //nolint:errcheck // so that it is no zombie of this process
	}
	if err := r.save(); err != nil { // Down must know the process
		return err
	}
	return h.setUp(context.Background())
}
