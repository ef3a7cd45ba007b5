/* SPDX-License-Identifier: GPL-2.0 */
/*
 * schedule.h - who owns a new connection? The oracle is scheduler.Pick in Go;
 * a test compares both on random tables.
 */
#ifndef ONEVIP_SCHEDULE_H
#define ONEVIP_SCHEDULE_H

#include "cookie.h"

/* So that products with a 16-bit weight stay in 64 bits. */
#define MAX_LOAD ((1ULL << 48) - 1)

struct pick {
	struct ov_loads *loads;
	struct ov_by_node *assigned;
	__u64 best_load;  /* active and in flight; 0 for round robin */
	__u64 best_share; /* assigned since base */
	__u64 best_weight;
	__u32 ignore_load;
	__u32 best; /* node id; UNDECIDED: none yet */
};

static __always_inline __u64 clamped_diff(__u64 a, __u64 b)
{
	__u64 diff = a > b ? a - b : 0;

	return diff > MAX_LOAD ? MAX_LOAD : diff;
}

/* Compares fractions load/weight, then share/weight; the first of equals stays. */
static long consider(__u32 i, struct pick *p)
{
	struct ov_load *n;
	__u64 load, share, assigned, mine, best;

	if (i >= NODE_COUNT)
		return 1;
	n = &p->loads->nodes[i];
	assigned = p->assigned->count[n->node];
	share = clamped_diff(assigned, n->base);
	load = p->ignore_load ? 0 : n->active + clamped_diff(assigned, n->settled);
	if (load > MAX_LOAD)
		load = MAX_LOAD;
	if (p->best != UNDECIDED) {
		mine = load * p->best_weight;
		best = p->best_load * n->weight;
		if (mine > best)
			return 0;
		if (mine == best && share * p->best_weight >= p->best_share * n->weight)
			return 0;
	}
	p->best = n->node;
	p->best_load = load;
	p->best_share = share;
	p->best_weight = n->weight;
	return 0;
}

/* A public constant: the table must be the same on all nodes, and the client
 * chooses its address anyway. scheduler.SourceBucket is the same in Go. */
#define SOURCE_K0 0x7320706976656e6fULL /* "onevip s" */
#define SOURCE_K1 0x317620656372756fULL /* "ource v1" */

static __always_inline __u32 source_bucket(const union ov_addr *client)
{
	struct sip s;

	sip_start(&s, SOURCE_K0, SOURCE_K1);
	if (is_v4(client))
		return sip_end(&s, client->words[3], 4) & (SLOT_COUNT - 1);
	sip_word(&s, client->halves[0]);
	sip_word(&s, client->halves[1]);
	return sip_end(&s, 0, 16) & (SLOT_COUNT - 1);
}

/* The owner of a new connection, and the account of it; UNDECIDED if no node
 * may be picked. */
static __noinline __u32 pick_owner(struct ov_service *svc, struct ov_flow *flow)
{
	__u32 id = svc->id;
	struct ov_source_hash *table;
	struct pick p = {};

	p.loads = bpf_map_lookup_elem(&loads, &id);
	p.assigned = bpf_map_lookup_elem(&assigned, &id);
	if (!p.loads || !p.assigned)
		return UNDECIDED;
	if (svc->policy == POLICY_SOURCE_HASH) {
		table = bpf_map_lookup_elem(&source_hash, &id);
		if (table)
			p.best = table->node[source_bucket(&flow->client)];
	} else {
		p.ignore_load = svc->policy == POLICY_ROUND_ROBIN;
		bpf_loop(p.loads->count, consider, &p, 0);
	}
	if (p.best != UNDECIDED)
		__sync_fetch_and_add(&p.assigned->count[p.best & 0xff], 1);
	return p.best & 0xff;
}

#endif
