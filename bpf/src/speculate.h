/* SPDX-License-Identifier: GPL-2.0 */
/*
 * speculate.h - who answers a SYN. Its slot's primary; the primary of the table
 * before, until all nodes know the new one; and the secondary if the primary does
 * not. Several answers can't hurt: the client's ACK names one owner.
 */
#ifndef ONEVIP_SPECULATE_H
#define ONEVIP_SPECULATE_H

#include "awaiting.h"
#include "member.h"

static __always_inline bool is_suspected(struct ov_config *cfg, __u8 node)
{
	return cfg->suspected[node >> 6] >> (node & 63) & 1;
}

/* The reason under which this node answers SYNs of the flow's slot; NOT_PRIMARY:
 * it does not; AWAITING: if the primary is silent. Not static: see walk_options. */
__noinline enum reason part_in(struct ov_config *cfg, const struct ov_flow *f)
{
	struct ov_slots *table = get_slots();
	__u32 slot;

	if (!table || !cfg || !f)
		return REASON_NOT_PRIMARY;
	slot = slot_of(flow_hash(f));
	if (table->primary[slot] == cfg->self)
		return REASON_ANSWERED;
	if (table->former[slot] == cfg->self)
		return REASON_ANSWERED_AS_FORMER;
	if (table->secondary[slot] != cfg->self || !cfg->speculates)
		return REASON_NOT_PRIMARY;
	if (!cfg->delay || is_suspected(cfg, table->primary[slot]))
		return REASON_ANSWERED_FOR_PRIMARY;
	return REASON_AWAITING;
}

static __always_inline bool answers(enum reason part)
{
	return part != REASON_NOT_PRIMARY && part != REASON_AWAITING;
}

/* A SYN without timestamps that another scheduler of its slot sent to us because
 * it has named us (copy_syn_to): not one to answer. */
static __noinline bool is_copy(struct __sk_buff *skb, const struct ov_flow *f)
{
	struct ov_slots *table = get_slots();
	__u32 slot = slot_of(flow_hash(f));

	return table && (is_from(skb, table->primary[slot]) ||
			 is_from(skb, table->secondary[slot]) ||
			 is_from(skb, table->former[slot]));
}

#endif
