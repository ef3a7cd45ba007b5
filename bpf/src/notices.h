/* SPDX-License-Identifier: GPL-2.0 */
/*
 * notices.h - what the agent is to do at once. docs/formats/maps.md.
 */
#ifndef ONEVIP_NOTICES_H
#define ONEVIP_NOTICES_H

#include "maps.h"
#include "reason.h"

enum notice_kind {
	NOTICE_SEND = 1,  /* this frame, by the interface of the filter */
	NOTICE_STRAY = 2, /* whose connection is this? */
	NOTICE_COPY = 3,  /* this frame too: a SYN, to its owner */
};

/* To be filled in and given to bpf_ringbuf_submit; NULL, counted, if there is no
 * room: the agent is away, or behind. */
static __noinline struct ov_notice *start_notice(enum notice_kind kind, struct ov_flow *f)
{
	struct ov_notice *n = bpf_ringbuf_reserve(&notices, sizeof(*n), 0);

	if (!n) {
		count(REASON_NOTICE_LOST);
		return NULL;
	}
	__builtin_memset(n, 0, sizeof(*n));
	n->at = bpf_ktime_get_ns();
	n->kind = kind;
	n->flow = *f;
	return n;
}

#endif
