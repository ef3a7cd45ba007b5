// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// errOpenFilter marks what can only be mended by starting anew.
var errOpenFilter = errors.New("no filter")

// installer brings tables into the kernel and remembers what it has brought, so
// that only differences are written and what failed is tried again.
type installer struct {
	open   func() (filter, error)
	host   host
	filter filter // nil until ensureFilter

	prepared bool
	self     bpf.Self
	cookies  *bpf.CookieKeys
	deputy   *bpf.Speculation // nil: not said yet
	members  map[topology.NodeID]topology.MAC
	services []bpf.Service
	vips     []netip.Addr
	slots    []bpf.Slot
	epoch    uint64
}

// install brings want into the kernel. The order keeps the node silent for a
// VIP until the filter knows it: the VIP comes to lo last and goes first. Steps
// go on after one that failed; the errors are joined. There must be a filter.
func (i *installer) install(want tables) error {
	return errors.Join(
		i.installSelf(want.self),
		i.installCookies(want.cookies),
		i.installMembers(want.members),
		i.installServices(want),
		i.installSpeculation(want.speculation),
		i.installSlots(want),
	)
}

// ensureFilter opens the filter, once. Errors: errOpenFilter.
func (i *installer) ensureFilter() error {
	if i.filter != nil {
		return nil
	}
	f, err := i.open()
	if err != nil {
		return fmt.Errorf("%w: %w", errOpenFilter, err)
	}
	i.filter = f
	return nil
}

func (i *installer) installSelf(self bpf.Self) error {
	if i.self == self {
		return nil
	}
	if err := i.filter.SetSelf(self); err != nil {
		return fmt.Errorf("set the node's id: %w", err)
	}
	i.self = self
	return nil
}

func (i *installer) installCookies(keys *bpf.CookieKeys) error {
	if keys == nil || i.cookies != nil && *i.cookies == *keys {
		return nil
	}
	if err := i.filter.SetCookieKeys(*keys); err != nil {
		return fmt.Errorf("set the cookie keys: %w", err)
	}
	i.cookies = keys
	return nil
}

func (i *installer) installMembers(members map[topology.NodeID]topology.MAC) error {
	if i.members != nil && maps.Equal(i.members, members) {
		return nil
	}
	if err := i.filter.SetMembers(members); err != nil {
		return fmt.Errorf("set the members: %w", err)
	}
	i.members = members
	return nil
}

func (i *installer) installServices(want tables) error {
	if err := i.prepareHost(); err != nil {
		return err
	}
	vips := want.vips()
	if i.services != nil && reflect.DeepEqual(i.services, want.services) && slices.Equal(i.vips, vips) {
		return nil
	}
	if err := i.host.removeVIPs(vips); err != nil {
		return err
	}
	if err := i.filter.SetServices(want.services); err != nil {
		return fmt.Errorf("set the services: %w", err)
	}
	i.services = want.services
	if err := i.host.addVIPs(vips); err != nil {
		i.vips = nil
		return err
	}
	i.vips = vips
	return nil
}

func (i *installer) prepareHost() error {
	if i.prepared {
		return nil
	}
	if err := i.host.prepare(); err != nil {
		return err
	}
	i.prepared = true
	return nil
}

func (i *installer) installSpeculation(s bpf.Speculation) error {
	if i.deputy != nil && *i.deputy == s {
		return nil
	}
	if err := i.filter.SetSpeculation(s); err != nil {
		return fmt.Errorf("set the speculation: %w", err)
	}
	i.deputy = &s
	return nil
}

func (i *installer) installSlots(want tables) error {
	if want.slots == nil || i.epoch == want.epoch && slices.Equal(i.slots, want.slots) {
		return nil
	}
	if err := i.filter.SetSlots(want.slots); err != nil {
		return fmt.Errorf("set the slots of epoch %d: %w", want.epoch, err)
	}
	i.slots, i.epoch = want.slots, want.epoch
	return nil
}

// counts reads the totals of the installed services; the errors are joined.
func (i *installer) counts() (counts, error) {
	out := counts{}
	var errs []error
	for _, s := range i.services {
		n, err := i.filter.Counts(s.ID)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out[s.ID] = n
	}
	return out, errors.Join(errs...)
}
