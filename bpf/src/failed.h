/* SPDX-License-Identifier: GPL-2.0 */
/*
 * failed.h - the nodes that have failed and are fenced, and for which of their
 * slots this node acts. The agent says so; nothing here decides it.
 */
#ifndef ONEVIP_FAILED_H
#define ONEVIP_FAILED_H

#include "flow.h"

/* UNDECIDED: for any failed node. */
static __always_inline bool acts_for(struct ov_config *cfg, __u32 node, __u32 slot)
{
	__u32 bank = cfg->failed;
	struct ov_failed *f = bpf_map_lookup_elem(&failed, &bank);

	return f && f->acts[node & 0xff][slot / 8 & (SLOT_COUNT / 8 - 1)] >> (slot & 7) & 1;
}

static __always_inline bool is_heir(struct ov_config *cfg, __u32 slot)
{
	__u32 bank = cfg->failed;
	struct ov_failed *f = bpf_map_lookup_elem(&failed, &bank);

	return f && f->heir[slot / 8 & (SLOT_COUNT / 8 - 1)] >> (slot & 7) & 1;
}

#endif
