/* SPDX-License-Identifier: GPL-2.0 */
/*
 * flow.h - the key of a connection, its hash and its slot.
 */
#ifndef ONEVIP_FLOW_H
#define ONEVIP_FLOW_H

#include "maps.h"

#define V4_MAPPED bpf_htonl(0x0000ffff)

/* In halves, as it is read: a processor can't hand on two small stores as one large
 * load, and waits. */
static __always_inline void map_v4(union ov_addr *a, __be32 v4)
{
	a->halves[0] = 0;
	a->halves[1] = (__u64)v4 << 32 | V4_MAPPED;
}

static __always_inline bool is_v4(const union ov_addr *a)
{
	return a->halves[0] == 0 && a->words[2] == V4_MAPPED;
}

static __always_inline __u64 mix(__u64 h, __u64 word)
{
	h = (h ^ word) * 0xff51afd7ed558ccdULL;
	return h ^ (h >> 32);
}

/* Spreads connections over slots and buckets; every node computes the same.
 * It keeps nobody out: whoever knows it can load one scheduler, not one owner.
 * Go's twin is SlotOf in slot.go. */
static __always_inline __u64 flow_hash(const struct ov_flow *f)
{
	__u64 h = 0x9e3779b97f4a7c15ULL;

	if (is_v4(&f->client)) {
		h = mix(h, (__u64)f->client.words[3] | (__u64)f->vip.words[3] << 32);
	} else {
		h = mix(h, f->client.halves[0]);
		h = mix(h, f->client.halves[1]);
		h = mix(h, f->vip.halves[0]);
		h = mix(h, f->vip.halves[1]);
	}
	h = mix(h, (__u64)f->client_port | (__u64)f->vip_port << 16);
	return mix(h, h >> 29);
}

static __always_inline __u32 slot_of(__u64 hash)
{
	return hash & (SLOT_COUNT - 1);
}

/* Every foreign segment pays for this one: a single multiplication. */
static __always_inline struct ov_trace *trace_of(const struct ov_flow *f)
{
	__u64 h = f->client.halves[1] ^ (__u64)f->client_port << 16 ^ f->vip_port;
	__u32 bucket = (h * 0x9e3779b97f4a7c15ULL) >> (64 - TRACE_BITS);

	return bpf_map_lookup_elem(&traces, &bucket);
}

/* The id of the node that answers for this connection, 0 if nobody does. */
static __always_inline __u32 primary_of(const struct ov_flow *f)
{
	struct ov_slots *table = get_slots();

	return table ? table->primary[slot_of(flow_hash(f))] : UNDECIDED;
}

#define NSEC_PER_SEC 1000000000ULL
#define NSEC_PER_MSEC 1000000ULL

/* Of CLOCK_MONOTONIC, a few milliseconds late, and cheap. */
static __always_inline __u32 now_seconds(void)
{
	return bpf_ktime_get_coarse_ns() / NSEC_PER_SEC;
}

/* Is it less than `limit` in this second? */
static __always_inline bool take_turn(__u32 what, __u32 limit)
{
	struct ov_pace *p = bpf_map_lookup_elem(&paces, &what);
	__u32 now = now_seconds();

	if (!p)
		return false;
	if (p->second != now) {
		p->second = now;
		p->times = 0;
	}
	if (p->times >= limit)
		return false;
	__sync_fetch_and_add(&p->times, 1);
	return true;
}

/* Of that clock too, in 2^20 ns: about milliseconds. They begin anew after seven
 * weeks, so that a trace may cost a look for nothing then. */
#define TICK_SHIFT 20

static __always_inline __u32 ticks_from_now(__u64 ns)
{
	return (bpf_ktime_get_coarse_ns() + ns) >> TICK_SHIFT;
}

/* What the maps may know of a connection. */
struct traced {
	bool closed;  /* tombstones, for less than `lifetime` seconds */
	bool awaited; /* awaiting */
	bool unheard; /* unheard */
	bool handed;  /* handovers: a segment was sent to its owner a moment ago */
};

/* One look, and one at the clock if there is something: most have left no trace. */
static __always_inline struct traced look_up_traces(const struct ov_flow *f, __u32 lifetime)
{
	struct ov_trace *t = trace_of(f);
	struct traced found = {};
	__u32 tick;
	__u64 now;

	if (!t || !(t->closed | t->awaited | t->unheard | t->handed))
		return found;
	now = bpf_ktime_get_coarse_ns();
	tick = now >> TICK_SHIFT;
	found.closed = t->closed && (__s32)(now / NSEC_PER_SEC - t->closed - lifetime) <= 0;
	found.awaited = t->awaited && (__s32)(t->awaited - tick) >= 0;
	found.unheard = t->unheard && (__s32)(t->unheard - tick) >= 0;
	found.handed = t->handed && (__s32)(t->handed - tick) >= 0;
	return found;
}

#endif
