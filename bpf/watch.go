// SPDX-License-Identifier: Apache-2.0

package bpf

// What the watch table of a configuration says beside node ids: WATCH_NOBODY and
// WATCH_ALL of types.h.
const (
	watchNobody = 0
	watchAll    = 255
)

// setWatch works out by slot whose connections this node guards, so that segments
// of all others leave after a single look. The table of before counts too: it is the
// one that says who acts on a failure, and its guards must see until then whether
// clients send data. The caller holds f.mu.
func (f *Filter) setWatch() {
	f.config.Spread = spreadOf(&f.slots, uint8(f.config.Self))
	self := uint8(f.config.Self)
	for slot := range f.config.Watch {
		watch := watchedIn(&f.slots, slot, self)
		if before := watchedIn(&f.before, slot, self); watch == watchNobody || before == watchAll {
			watch = before
		}
		acts := f.failed.Acts[0][slot/8]>>(slot%8)&1 != 0
		if watch == watchNobody && acts {
			watch = self // nobody's, but do look
		}
		f.config.Watch[slot] = watch
	}
}

// watchedIn is scheduler.GuardOf turned round: the secondary guards what all others
// own, the primary what the secondary owns.
func watchedIn(table *onevipOvSlots, slot int, self uint8) uint8 {
	switch self {
	case 0:
		return watchNobody
	case table.Secondary[slot]:
		return watchAll
	case table.Primary[slot]:
		return table.Secondary[slot]
	}
	return watchNobody
}
