// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"

	"github.com/onevip/onevip/topology"
)

const inlineVIPs = 8 // INLINE_VIPS in types.h

// adoptConfig reads the configuration in force, which is zero on a first load.
func (f *Filter) adoptConfig() error {
	if err := f.objs.Globals.Lookup(uint32(0), &f.globals); err != nil {
		return fmt.Errorf("read globals: %w", err)
	}
	if err := f.objs.Configs.Lookup(f.globals.Config, &f.config); err != nil {
		return fmt.Errorf("read config %d: %w", f.globals.Config, err)
	}
	if err := f.objs.Slots.Lookup(f.globals.Slots, &f.slots); err != nil {
		return fmt.Errorf("read slots %d: %w", f.globals.Slots, err)
	}
	if err := f.objs.Slots.Lookup(1-f.globals.Slots&1, &f.before); err != nil {
		return fmt.Errorf("read the slots of before: %w", err)
	}
	if err := f.objs.Failed.Lookup(f.config.Failed, &f.failed); err != nil {
		return fmt.Errorf("read failed %d: %w", f.config.Failed, err)
	}
	return nil
}

// applyConfig writes f.config into the bank that is not in force, then switches.
// The caller holds f.mu, or nobody else has f yet.
func (f *Filter) applyConfig() error { return f.applyWith(f.globals.Slots) }

// applyWith is applyConfig, with that bank of slots from then on.
func (f *Filter) applyWith(slots uint32) error {
	next := 1 - f.globals.Config&1
	if err := f.objs.Configs.Put(next, &f.config); err != nil {
		return fmt.Errorf("write config %d: %w", next, err)
	}
	return f.switchTo(next, slots)
}

func (f *Filter) switchTo(config, slots uint32) error {
	globals := f.globals
	globals.Config, globals.Slots = config, slots
	if err := f.objs.Globals.Put(uint32(0), &globals); err != nil {
		return fmt.Errorf("switch tables: %w", err)
	}
	f.globals = globals
	return nil
}

// SetSelf tells the programs their own node's id; until then they let nothing
// for a VIP through. Another id than before ends Quiesce.
func (f *Filter) SetSelf(self Self) error {
	if !self.ID.Valid() {
		return fmt.Errorf("node id %d: want 1..%d", self.ID, topology.MaxNodeID)
	}
	if self.WindowScale > 14 {
		return fmt.Errorf("window scale %d: want 0..14 (RFC 7323)", self.WindowScale)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.config.Self != uint32(self.ID) {
		f.config.StoodDown = 0
	}
	f.config.Self = uint32(self.ID)
	f.config.WindowScale = uint32(self.WindowScale)
	f.setWatch()
	return f.applyConfig()
}

// SetCookieKeys installs all keys at once.
func (f *Filter) SetCookieKeys(keys CookieKeys) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config.Epoch = keys.Epoch
	f.config.Lifetime = uint32(keys.Lifetime / time.Second)
	f.config.Keys = [4]onevipOvKey{}
	for i, raw := range [][16]byte{keys.Previous, keys.Current, keys.Next} {
		epoch := keys.Epoch + uint32(i) - 1
		f.config.Keys[epoch&3] = siphashKey(epoch, raw)
	}
	return f.applyConfig()
}

func siphashKey(epoch uint32, raw [16]byte) onevipOvKey {
	if raw == ([16]byte{}) {
		return onevipOvKey{Epoch: epoch}
	}
	return onevipOvKey{
		K0:    binary.LittleEndian.Uint64(raw[:8]),
		K1:    binary.LittleEndian.Uint64(raw[8:]),
		Epoch: epoch,
		Valid: 1,
	}
}

// SetSlots installs the whole slot table at once. len(table) is
// topology.SlotCount. The primaries and secondaries that it replaces still guard
// (setWatch) until others replace these.
func (f *Filter) SetSlots(table []Slot) error {
	if len(table) != topology.SlotCount {
		return fmt.Errorf("slot table has %d entries, want %d", len(table), topology.SlotCount)
	}
	var slots onevipOvSlots
	for i, s := range table {
		slots.Primary[i], slots.Secondary[i], slots.Former[i] = uint8(s.Primary), uint8(s.Secondary), uint8(s.Former)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if slots.Primary == f.slots.Primary && slots.Secondary == f.slots.Secondary {
		return f.setFormer(slots)
	}
	next := 1 - f.globals.Slots&1
	if err := f.objs.Slots.Put(next, &slots); err != nil {
		return fmt.Errorf("write slots %d: %w", next, err)
	}
	f.before, f.slots = f.slots, slots
	f.setWatch()
	return f.applyWith(next)
}

// setFormer writes a table with the roles of the one in force over that, so that the
// other bank still has those of before. The caller holds f.mu.
func (f *Filter) setFormer(slots onevipOvSlots) error {
	if err := f.objs.Slots.Put(f.globals.Slots, &slots); err != nil {
		return fmt.Errorf("write slots %d: %w", f.globals.Slots, err)
	}
	f.slots = slots
	return nil
}

// SetServices makes exactly these services known. New ones are in the map before
// their VIP counts as ours, and old ones go after.
func (f *Filter) SetServices(services []Service) error {
	wanted, addrs, err := f.serviceEntries(services)
	if err != nil {
		return err
	}
	if err := f.setRules(services); err != nil {
		return err
	}
	f.setSoonest(services)
	for key, svc := range wanted {
		if err := f.objs.Services.Put(key, svc); err != nil {
			return fmt.Errorf("add service %d: %w", svc.Id, err)
		}
	}
	if err := f.setVIPs(addrs, wanted); err != nil {
		return err
	}
	err = deleteOthers(f.objs.Services, func(k onevipOvServiceKey) bool { _, ok := wanted[k]; return ok })
	return errors.Join(err, f.dropRules(services))
}

func (f *Filter) serviceEntries(services []Service) (map[onevipOvServiceKey]onevipOvService, []netip.Addr, error) {
	wanted := map[onevipOvServiceKey]onevipOvService{}
	var addrs []netip.Addr
	for _, s := range services {
		policy, err := policyCode(s.Policy)
		if err != nil {
			return nil, nil, err
		}
		if uint32(s.ID) >= f.objs.Loads.MaxEntries() {
			return nil, nil, fmt.Errorf("service id %d: the maps hold %d services", s.ID, f.objs.Loads.MaxEntries())
		}
		for _, vip := range s.VIPs {
			key := onevipOvServiceKey{Vip: address(vip), Port: networkOrder(s.Port)}
			wanted[key] = onevipOvService{Id: uint32(s.ID), Policy: policy, Replay: flag(s.Replay)}
			addrs = append(addrs, vip)
		}
	}
	if len(wanted) > int(f.objs.Services.MaxEntries()) {
		return nil, nil, fmt.Errorf("%d VIP and port pairs: the map holds %d", len(wanted), f.objs.Services.MaxEntries())
	}
	return wanted, addrs, nil
}

func flag(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// enum policy of types.h.
const (
	policyLeastConnection uint32 = iota + 1
	policyRoundRobin
	policySourceHash
	policyLocality
	policyBoundedHash
)

// policyCode is how the maps have the policy.
func policyCode(p topology.Policy) (uint32, error) {
	switch p {
	case topology.LeastConnection:
		return policyLeastConnection, nil
	case topology.RoundRobin:
		return policyRoundRobin, nil
	case topology.SourceHash:
		return policySourceHash, nil
	case topology.Locality:
		return policyLocality, nil
	case topology.BoundedHash:
		return policyBoundedHash, nil
	}
	return 0, fmt.Errorf("policy %q: not one that the filter knows", p)
}

// setVIPs puts the first few of each family into the configuration, where they
// are compared without a map, and all of them into the map if those don't suffice.
// The services go the same way, in the same moment.
func (f *Filter) setVIPs(addrs []netip.Addr, services map[onevipOvServiceKey]onevipOvService) error {
	all := map[onevipOvAddr]bool{}
	f.mu.Lock()
	defer f.mu.Unlock()
	cfg := &f.config
	cfg.Vip4Count, cfg.Vip6Count, cfg.MoreVips = 0, 0, 0
	for _, a := range addrs {
		key := address(a)
		if all[key] {
			continue
		}
		all[key] = true
		switch {
		case a.Is4() && cfg.Vip4Count < inlineVIPs:
			cfg.Vip4[cfg.Vip4Count] = key.Words[3]
			cfg.Vip4Count++
		case a.Is6() && cfg.Vip6Count < inlineVIPs:
			cfg.Vip6[cfg.Vip6Count] = key
			cfg.Vip6Count++
		default:
			cfg.MoreVips = 1
		}
	}
	f.inlineServices(services)
	f.noteInspection(services)
	for key := range all {
		if err := f.objs.Vips.Put(key, uint32(1)); err != nil {
			return fmt.Errorf("add VIP: %w", err)
		}
	}
	if err := f.applyConfig(); err != nil {
		return err
	}
	return deleteOthers(f.objs.Vips, func(k onevipOvAddr) bool { return all[k] })
}

// noInline is NO_INLINE in types.h.
const noInline = math.MaxUint32

// inlineServices puts the services into the configuration, if they have room.
// The caller holds f.mu.
func (f *Filter) inlineServices(services map[onevipOvServiceKey]onevipOvService) {
	cfg := &f.config
	clear(cfg.Services[:])
	cfg.ServiceCount = noInline
	if len(services) > len(cfg.Services) {
		return
	}
	cfg.ServiceCount = 0
	for key, svc := range services {
		place := &cfg.Services[cfg.ServiceCount]
		place.Key, place.Service = key, svc
		cfg.ServiceCount++
	}
}

// deleteOthers removes the entries whose key is not wanted.
func deleteOthers[K comparable](m *ebpf.Map, wanted func(K) bool) error {
	var key K
	var value []byte
	var stale []K
	it := m.Iterate()
	for it.Next(&key, &value) {
		if !wanted(key) {
			stale = append(stale, key)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read %s: %w", m, err)
	}
	for _, key := range stale {
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete from %s: %w", m, err)
		}
	}
	return nil
}

// address is the 16-byte form, IPv4 as ::ffff:a.b.c.d.
func address(a netip.Addr) onevipOvAddr {
	var out onevipOvAddr
	raw := a.As16()
	for i := range out.Words {
		out.Words[i] = binary.NativeEndian.Uint32(raw[4*i:])
	}
	return out
}

// netipAddr is the other way round.
func netipAddr(a onevipOvAddr) netip.Addr {
	var raw [16]byte
	for i, word := range a.Words {
		binary.NativeEndian.PutUint32(raw[4*i:], word)
	}
	return netip.AddrFrom16(raw).Unmap()
}

func networkOrder(port uint16) uint16 {
	var raw [2]byte
	binary.BigEndian.PutUint16(raw[:], port)
	return binary.NativeEndian.Uint16(raw[:])
}
