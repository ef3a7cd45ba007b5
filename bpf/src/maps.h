/* SPDX-License-Identifier: GPL-2.0 */
/*
 * maps.h - the tables, with their bounds and what happens when they are full.
 * Sizes marked (*) are set at load time from the Options in filter.go.
 */
#ifndef ONEVIP_MAPS_H
#define ONEVIP_MAPS_H

#include "types.h"

/* Written by the agent, read here. */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ov_globals);
} globals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct ov_config);
} configs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct ov_slots);
} slots SEC(".maps");

/* (*) VIPs beyond the inline ones. Full: the agent refuses the service. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, union ov_addr);
	__type(value, __u32);
} vips SEC(".maps");

/* (*) Full: the agent refuses the service. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct ov_service_key);
	__type(value, struct ov_service);
} services SEC(".maps");

/* (*) One entry a service. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct ov_loads);
} loads SEC(".maps");

/* (*) One entry a service. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct ov_source_hash);
} source_hash SEC(".maps");

/* (*) One entry a service: what ov_rules says. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct ov_rules);
} rules SEC(".maps");

/* By node id: where a SYN copy for a named owner goes, and what is handed over. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NODE_COUNT);
	__type(key, __u32);
	__type(value, struct ov_member);
} members SEC(".maps");

/* Two banks; ov_config names the one in force. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct ov_failed);
} failed SEC(".maps");

/* Written here, read by the agent. */

/* By enum violation, per CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct ov_tally);
} tally SEC(".maps");

/* (*) OUTCOME_ROOM entries a service, per CPU: how requests found their owner. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64 * OUTCOME_ROOM);
	__type(key, __u32);
	__type(value, __u64);
} inspected SEC(".maps");

/* (*) How often this node, as a scheduler, named each owner. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct ov_by_node);
} assigned SEC(".maps");

/* (*) Sockets that came to be here, by the primary of their slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct ov_by_node);
} adopted SEC(".maps");

/* (*) */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct ov_conns);
} conns SEC(".maps");

/* Written and read here. */

/* (*) One entry a service. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct ov_tree);
} trees SEC(".maps");

/* (*) LOCALITY_BUCKETS entries a service. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64 * LOCALITY_BUCKETS);
	__uint(map_flags, BPF_F_MMAPABLE); /* the agent changes sets as the programs do */
	__type(key, __u32);
	__type(value, struct ov_bucket);
} localities SEC(".maps");

/* Where inspect() looks at a payload, which is too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ov_look);
} looks SEC(".maps");

/* By service * LOCALITY_BUCKETS + bucket: the first key that was seen in it. Takes
 * memory only as it fills. Full: further buckets have no sample to show. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct ov_sample);
} samples SEC(".maps");

/* (*) Connections whose owner this node decided, as their inspector. Full: the oldest is
 * forgotten; if its first segment comes once more, it is decided anew, perhaps for
 * another owner. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 262144);
	__type(key, struct ov_flow);
	__type(value, struct ov_handover);
} handovers SEC(".maps");

/* (*) SYNs of clients without timestamps. Full: the oldest handshake is
 * forgotten; its client's segments are then dropped (COOKIE_NO_RECORD). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct ov_syn_key);
	__type(value, struct ov_options);
} syn_records SEC(".maps");

/* (*) Connections that have closed. Should hold a cookie lifetime's worth.
 * Full: the oldest is forgotten; a duplicate of its first segment that arrives
 * later still would be adopted again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct ov_flow);
	__type(value, struct ov_tombstone);
} tombstones SEC(".maps");

/* See struct ov_trace. */
#define TRACE_BITS 16
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << TRACE_BITS);
	__type(key, __u32);
	__type(value, struct ov_trace);
} traces SEC(".maps");

/* SYNs that wait for their primary's answer, and those that waited in vain a moment
 * ago, each in the one place that its hash gives it. The place is taken: the next is
 * answered at once (ANSWERED_UNTIMED). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, AWAITING_PLACES);
	__type(key, __u32);
	__type(value, struct ov_awaiting);
} awaiting SEC(".maps");

/* Few, for the kernel often has no memory at hand for a timer; onevip_clocks makes
 * those of all. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CLOCK_COUNT);
	__type(key, __u32);
	__type(value, struct ov_clock);
} clocks SEC(".maps");

/* (*) SYN/ACKs that named us and have led to no socket yet. Full: the next is not
 * kept (UNHEARD_FULL), so that it is not sent again if the client stays silent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct ov_flow);
	__type(value, struct ov_unheard);
} unheard SEC(".maps");

/* By a hash of the client's address: 16 more bits of it, and above them the MAC
 * that its last SYN came from. Of two clients in one place the later is known. */
#define CLIENT_BITS 16
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << CLIENT_BITS);
	__type(key, __u32);
	__type(value, __u64);
} clients SEC(".maps");

/* Where one entry of unheard is made, which is too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ov_unheard);
} drafts SEC(".maps");

/* (*, in bytes) Full: the notice is lost, and counted (NOTICE_LOST). */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} notices SEC(".maps");

/* (*) Connections of others that this node guards, and, where it acts for a failed
 * node, those whose owner it does not know. Full: the oldest is forgotten; if its
 * owner fails, the client learns of it when it talks, or from etcd's record. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct ov_flow);
	__type(value, struct ov_guarded);
} guarded SEC(".maps");

/* By enum pace: how much of that was kept in this second. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PACE_COUNT);
	__type(key, __u32);
	__type(value, struct ov_pace);
} paces SEC(".maps");

/* Bounded by the sockets there are. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ov_mark);
} marks SEC(".maps");

static __always_inline struct ov_globals *get_globals(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&globals, &zero);
}

/* The configuration in force, or NULL before the agent wrote one. */
static __always_inline struct ov_config *get_config(void)
{
	struct ov_globals *g = get_globals();
	__u32 bank;

	if (!g)
		return NULL;
	bank = g->config;
	return bpf_map_lookup_elem(&configs, &bank);
}

static __always_inline struct ov_slots *get_slots(void)
{
	struct ov_globals *g = get_globals();
	__u32 bank;

	if (!g)
		return NULL;
	bank = g->slots;
	return bpf_map_lookup_elem(&slots, &bank);
}

#endif
