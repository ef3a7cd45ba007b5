/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tally.h - the invariants, as far as the programs can see that one is broken. What
 * they can't see is not here: docs/formats/maps.md says what each count means.
 */
#ifndef ONEVIP_TALLY_H
#define ONEVIP_TALLY_H

#include "failed.h"

enum violation {
	VIOLATION_DOUBLE_OWNER, /* I1: one handshake, valid cookies of two nodes */
	VIOLATION_STRAY_RST,	/* I5: this kernel reset what it never had; resets.h */
	VIOLATION_COUNT,
};

/* Counts, and gives the place for what was seen of the packet. */
static __always_inline struct ov_tally *violated(enum violation what, const struct ov_flow *f)
{
	__u32 key = what;
	struct ov_tally *t = bpf_map_lookup_elem(&tally, &key);

	if (!t)
		return NULL;
	t->count++;
	t->at = bpf_ktime_get_ns();
	t->flow = *f;
	t->seq = t->ack_seq = t->interface = t->flags = 0;
	return t;
}

/* A client that acknowledged `owner` in this handshake has acknowledged another. A
 * node that has failed may be followed by its heir. */
static __always_inline bool is_double(struct ov_guarded *g, __u32 isn, __u32 owner)
{
	return g->flags & GUARD_NAMED && g->isn == isn && g->owner != owner;
}

/* A socket came to be here: what its guard noted is done with. */
static __always_inline void is_ours(const struct ov_flow *f, __u32 isn)
{
	struct ov_guarded *g = bpf_map_lookup_elem(&guarded, f);
	struct ov_config *cfg = get_config();

	if (!g || !cfg)
		return;
	if (is_double(g, isn, cfg->self) && !acts_for(cfg, g->owner, slot_of(flow_hash(f))))
		violated(VIOLATION_DOUBLE_OWNER, f);
	bpf_map_delete_elem(&guarded, f);
}

#endif
