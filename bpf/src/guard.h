/* SPDX-License-Identifier: GPL-2.0 */
/*
 * guard.h - what a node does for the connections of others: it remembers those of
 * its slots, and when their owner has failed and is fenced, it ends them by a RST
 * that fits, or takes over those that have only just been made.
 *
 * Who guards what: the secondary of a slot all that others own, the primary what
 * the secondary owns (scheduler.GuardOf). Segments of other slots leave after one
 * look at cfg->watch.
 */
#ifndef ONEVIP_GUARD_H
#define ONEVIP_GUARD_H

#include "notices.h"
#include "reuse.h"
#include "sockets.h"

/* More than what may lie between two segments of one connection that we see. */
static __always_inline bool is_far(__u32 number, __u32 known)
{
	const __u32 back = 1U << 20, ahead = 1U << 25;

	return number - known + back > ahead + back;
}

/* Numbers that are not of the connection that we know by this tuple. */
static __always_inline bool is_stranger(struct ov_guarded *g, struct segment *seg)
{
	return g->flags & GUARD_NUMBERED &&
	       (is_far(seg->ack_seq, g->ack) || is_far(seg->seq, g->seq));
}

/* What every segment tells: where both sides are, and how to reach the client.
 * Linux, BSD and Windows put timestamps in front of other options. */
static __always_inline void note_frame(struct __sk_buff *skb, struct segment *seg,
				       struct ov_guarded *g)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__be32 *word = data + (seg->v6 ? L4_OFFSET_V6 : L4_OFFSET_V4) + sizeof(struct tcphdr);
	struct ether_out *eth = data;
	__u32 tsval;

	if ((void *)(eth + 1) > end)
		return;
	__builtin_memcpy(g->mac, eth->source, ETH_ALEN);
	if (seg->options_len < 12 || (void *)(word + 3) > end || word[0] != bpf_htonl(0x0101080a))
		return;
	tsval = bpf_ntohl(word[1]);
	if (g->flags & GUARD_TIMESTAMPS && (__s32)(tsval - g->tsval) < 0)
		return;
	g->tsval = tsval;
	g->tsecr = bpf_ntohl(word[2]);
	g->flags |= GUARD_TIMESTAMPS;
}

static __always_inline void note(struct __sk_buff *skb, struct segment *seg, struct ov_guarded *g)
{
	__u32 next = seg->seq + seg->payload + seg->fin;
	bool first = !(g->flags & GUARD_NUMBERED);

	if (first || (__s32)(seg->ack_seq - g->ack) > 0)
		g->ack = seg->ack_seq;
	if (first || (__s32)(next - g->seq) > 0) {
		g->seq = next;
		g->flags &= ~GUARD_FIN; /* nothing follows a FIN: it was of another connection */
	}
	g->flags |= GUARD_NUMBERED | (seg->payload || seg->fin ? GUARD_DATA : 0);
	g->flags |= seg->fin ? GUARD_FIN : 0;
	g->seen = now_seconds();
	note_frame(skb, seg, g);
}

/* A record from nothing, or in place of another connection's. Not static: the verifier
 * looks at it once. */
__noinline int record(struct __sk_buff *skb, struct segment *seg, __u32 owner, __u32 flags)
{
	struct ov_guarded g = { .owner = owner };

	if (!seg)
		return 0;
	g.isn = seg->seq - 1;
	note(skb, seg, &g);
	g.flags = (g.flags & ~GUARD_DATA) | flags;
	return bpf_map_update_elem(&guarded, &seg->flow, &g, BPF_ANY);
}

static __always_inline bool is_of_handshake(struct ov_guarded *g, struct segment *seg)
{
	return g && g->flags & GUARD_NAMED && g->isn == seg->seq - 1;
}

/* Is this first segment of the connection that we know, perhaps only from its middle? */
static __always_inline bool is_known(struct ov_guarded *g, struct segment *seg)
{
	return g && (is_of_handshake(g, seg) || !is_stranger(g, seg));
}

/*
 * The cookie names a failed node for which we act: adopt, unless that node may have
 * acted on the request already. What no record says is not known not to have been.
 * The record stays, with us as the owner, until the socket comes to be: there may
 * be no room for it yet.
 */
static __always_inline enum reason on_young(struct __sk_buff *skb, struct ov_config *cfg,
					    struct segment *seg, struct ov_guarded *g, __u32 owner)
{
	bool known = is_known(g, seg);
	struct ov_service *svc;

	if (known && g->ack != seg->ack_seq)
		return REASON_RESET_ORPHAN; /* it has heard more of the owner than its SYN/ACK */
	if (known ? g->flags & GUARD_DATA : seg->payload || seg->fin) {
		svc = service_of(&seg->flow);
		if (!svc || !svc->replay) {
			record(skb, seg, owner, GUARD_NAMED | GUARD_DATA);
			return REASON_RESET_YOUNG;
		}
	}
	record(skb, seg, cfg->self, GUARD_NAMED);
	return REASON_ADOPTED_YOUNG;
}

static __always_inline void two_owners(struct __sk_buff *skb, struct segment *seg)
{
	struct ov_tally *t = violated(VIOLATION_DOUBLE_OWNER, &seg->flow);

	if (!t)
		return;
	t->seq = seg->seq;
	t->ack_seq = seg->ack_seq;
	t->interface = skb->ifindex;
	t->flags = seg->ack << 4 | seg->fin;
}

/* The segment finishes a handshake: that is when the owner is known for sure. Where we
 * act, it is remembered even if we don't watch that owner: what follows would be a stray. */
static __always_inline enum reason on_named(struct __sk_buff *skb, struct ov_config *cfg,
					    struct segment *seg, struct ov_guarded *g,
					    __u32 owner, __u32 slot, bool watch)
{
	if (g && g->owner != cfg->self && is_double(g, seg->seq - 1, owner))
		two_owners(skb, seg);
	if (is_known(g, seg)) {
		g->owner = owner;
		g->isn = seg->seq - 1;
		g->flags |= GUARD_NAMED;
		note(skb, seg, g);
	} else if (g || watch || acts_for(cfg, UNDECIDED, slot)) {
		record(skb, seg, owner, GUARD_NAMED | (seg->payload || seg->fin ? GUARD_DATA : 0));
	}
	return REASON_FOREIGN;
}

/* Nobody here knows whose it is: the agent asks the other nodes. Once a second and
 * connection is enough. */
static __always_inline enum reason stray(struct segment *seg, struct ov_guarded *g)
{
	__u32 now = now_seconds();
	struct ov_notice *n;

	if (g->noticed == now)
		return REASON_STRAY;
	n = start_notice(NOTICE_STRAY, &seg->flow);
	if (n) {
		g->noticed = now;
		bpf_ringbuf_submit(n, 0);
	}
	return REASON_STRAY;
}

/* Any other segment: the record says whose it is, if there is one. None is made for a
 * port without a service, or any stranger's ACKs would evict others. */
static __always_inline enum reason on_mid_stream(struct __sk_buff *skb, struct ov_config *cfg,
						 struct segment *seg, struct ov_guarded *g,
						 __u32 slot, bool watch)
{
	bool acting = acts_for(cfg, UNDECIDED, slot);

	if (g && is_stranger(g, seg))
		g = NULL; /* the tuple was used again, and we missed the beginning */
	if (g) {
		note(skb, seg, g);
	} else if ((watch || acting) && service_of(&seg->flow)) {
		record(skb, seg, UNDECIDED, GUARD_DATA);
		g = bpf_map_lookup_elem(&guarded, &seg->flow);
	}
	if (!acting || !g)
		return REASON_FOREIGN;
	if (g->owner == UNDECIDED)
		return stray(seg, g);
	return acts_for(cfg, g->owner, slot) ? REASON_RESET_ORPHAN : REASON_FOREIGN;
}

/* Is it worth to check the cookie? Not in the middle of a connection that we know, nor
 * behind what we saw of one whose owner we don't. */
static __always_inline bool may_name(struct ov_config *cfg, struct segment *seg,
				     struct ov_guarded *g, __u32 slot, __u32 watch)
{
	__u32 owner = cookie_owner(seg->ack_seq - 1);

	if (!g)
		return watch == WATCH_ALL || owner == watch || acts_for(cfg, UNDECIDED, slot);
	if (acts_for(cfg, g->owner, slot)) /* or, if it is not known, for anybody */
		return true;
	if (g->owner == UNDECIDED && (__s32)(seg->seq - 1 - g->isn) < 0)
		return true;
	return is_stranger(g, seg) || (is_of_handshake(g, seg) && owner != g->owner);
}

/* The client gave up, if it is the client. */
static __always_inline void on_rst(struct segment *seg, struct ov_guarded *g)
{
	if (g->flags & GUARD_NUMBERED && !is_far(seg->seq, g->seq))
		bpf_map_delete_elem(&guarded, &seg->flow);
}

/* Not static: the verifier looks at it once. REASON_FOREIGN: nothing is to be done. */
__noinline int guard_segment(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
			     __u32 slot, __u32 watch)
{
	__u32 owner = UNDECIDED;
	struct ov_guarded *g;

	if (!cfg || !seg || seg->syn)
		return REASON_FOREIGN;
	g = bpf_map_lookup_elem(&guarded, &seg->flow);
	if (seg->rst) {
		if (g)
			on_rst(seg, g);
		return REASON_FOREIGN;
	}
	if (may_name(cfg, seg, g, slot, watch) && has_valid_cookie(skb, cfg, seg))
		owner = cookie_owner(seg->ack_seq - 1);
	if (owner == UNDECIDED)
		return on_mid_stream(skb, cfg, seg, g, slot, watch == WATCH_ALL);
	if (acts_for(cfg, owner, slot))
		return on_young(skb, cfg, seg, g, owner);
	return on_named(skb, cfg, seg, g, owner, slot, watch == WATCH_ALL || watch == owner);
}

/* A segment of another node's connection, which was to be dropped for `reason`. Gives
 * the reason by which it shall leave. */
static __always_inline enum reason guard(struct __sk_buff *skb, struct ov_config *cfg,
					 struct segment *seg, enum reason reason)
{
	__u32 slot = slot_of(flow_hash(&seg->flow));
	__u32 watch = cfg->watch[slot];
	int out;

	if (watch == WATCH_NOBODY || reason == REASON_BAD_TCP_OPTIONS)
		return reason;
	out = guard_segment(skb, cfg, seg, slot, watch);
	return out == REASON_FOREIGN ? reason : out;
}

#endif
