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

static __always_inline void violated(enum violation what)
{
	__u32 key = what;
	__u64 *n = bpf_map_lookup_elem(&tally, &key);

	if (n)
		(*n)++;
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
		violated(VIOLATION_DOUBLE_OWNER);
	bpf_map_delete_elem(&guarded, f);
}

#endif
