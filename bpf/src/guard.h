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

/* Numbers that are not of the connection that we know by this tuple: far from its own, or
 * behind its end. */
static __always_inline bool is_stranger(struct ov_guarded *g, struct segment *seg)
{
	if (!(g->flags & GUARD_NUMBERED))
		return false;
	if (g->flags & GUARD_FIN && (__s32)(seg->seq - g->seq) > 0)
		return true;
	return is_far(seg->ack_seq, g->ack) || is_far(seg->seq, g->seq);
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

/* Not static: see walk_options. */
__noinline int note(struct __sk_buff *skb, struct segment *seg, struct ov_guarded *g)
{
	bool first, data = false;
	__u32 next;

	if (!seg || !g)
		return 0;
	next = seg->seq + seg->payload + seg->fin;
	first = !(g->flags & GUARD_NUMBERED);
	if (first || (__s32)(seg->ack_seq - g->ack) > 0) {
		g->ack = seg->ack_seq;
		data = !first; /* it has heard its owner, and so has one */
	}
	if (first || (__s32)(next - g->seq) > 0) {
		g->seq = next;
		g->flags &= ~GUARD_FIN; /* nothing follows a FIN: it was of another connection */
	}
	/* What comes again may be a silent client's answer, by which its inspector decides. */
	if (!first && g->flags & GUARD_INSPECTED && seg->seq - 1 == g->isn)
		data = true;
	/* A keep-alive probe may have a byte, which is before the first. */
	if ((seg->payload || seg->fin) && (__s32)(next - 1 - g->isn) > 0)
		data = true;
	g->flags |= GUARD_NUMBERED | (data ? GUARD_DATA : 0);
	g->flags |= seg->fin ? GUARD_FIN : 0;
	g->seen = now_seconds();
	note_frame(skb, seg, g);
	return 0;
}

/* The flags of a record that a cookie with this inspector has made. */
static __always_inline __u32 inspected_by(__u32 inspector)
{
	return GUARD_INSPECTED | inspector << 8;
}

/* A record from nothing, or in place of another connection's. In `flags`, the inspector
 * is above them. Not static: the verifier looks at it once. */
__noinline int record(struct __sk_buff *skb, struct segment *seg, __u32 owner, __u32 flags)
{
	struct ov_guarded g = { .owner = owner, .inspector = flags >> 8 };

	if (!seg)
		return 0;
	g.isn = seg->seq - 1;
	note(skb, seg, &g);
	g.flags = (g.flags & ~GUARD_DATA) | flags;
	return bpf_map_update_elem(&guarded, &seg->flow, &g, BPF_ANY);
}

static __always_inline bool is_of_handshake(struct ov_guarded *g, struct segment *seg)
{
	return g && g->flags & (GUARD_NAMED | GUARD_INSPECTED) && g->isn == seg->seq - 1;
}

/* Is this first segment of the connection that we know, perhaps only from its middle? */
static __always_inline bool is_known(struct ov_guarded *g, struct segment *seg)
{
	return g && (is_of_handshake(g, seg) || !is_stranger(g, seg));
}

/*
 * The cookie names a failed node for which we act: adopt, unless that node may have
 * acted on the request already. What no record says is not known not to have been:
 * where the guard died too, a bare ACK may be a late copy, and an inspector may have given
 * the connection to anybody. The record stays, with us as the owner, until the socket comes
 * to be: there may be no room for it yet.
 */
static __always_inline enum reason on_young(struct __sk_buff *skb, struct ov_config *cfg,
					    struct segment *seg, struct ov_guarded *g, __u32 owner,
					    __u32 flags, __u32 slot)
{
	bool known = is_known(g, seg), heir = is_heir(cfg, slot);
	bool unsure = heir && flags & GUARD_INSPECTED;
	struct ov_service *svc;

	if (known && g->ack != seg->ack_seq)
		return REASON_RESET_ORPHAN; /* it has heard more of the owner than its SYN/ACK */
	if (unsure || (known ? g->flags & GUARD_DATA : seg->payload || seg->fin || heir)) {
		svc = service_of(&seg->flow);
		if (unsure || !svc || !svc->replay) {
			record(skb, seg, owner, GUARD_NAMED | GUARD_DATA | flags);
			return REASON_RESET_YOUNG;
		}
	}
	record(skb, seg, cfg->self, GUARD_NAMED | flags);
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

static __always_inline enum reason stray_of(struct segment *seg)
{
	struct ov_guarded *g = bpf_map_lookup_elem(&guarded, &seg->flow);

	return g ? stray(seg, g) : REASON_STRAY;
}

/* The handshake names its inspector: the record's owner is the one that this node was
 * told of. */
static __always_inline void note_inspector(struct __sk_buff *skb, struct segment *seg,
					   struct ov_guarded *g, __u32 inspector)
{
	if (!is_of_handshake(g, seg)) {
		g->isn = seg->seq - 1;
		g->owner = UNDECIDED;
		g->flags &= ~GUARD_NAMED;
	} else if (g->flags & GUARD_INSPECTED && g->inspector != inspector) {
		two_owners(skb, seg);
	}
	g->inspector = inspector;
	g->flags |= GUARD_INSPECTED;
	note(skb, seg, g);
}

/*
 * We act for the inspector. Before there was data it has decided nothing, and what it
 * has missed so is ours. After that, or if we may not have seen it, somebody may have the
 * connection: the agent asks. Whom the agent found, or condemned, is the record's owner, but
 * not a named one; a failed one is none that was found.
 */
static __always_inline enum reason on_uninspected(struct __sk_buff *skb, struct ov_config *cfg,
						  struct segment *seg, struct ov_guarded *g,
						  __u32 inspector, __u32 slot)
{
	bool known = is_known(g, seg), first = is_of_handshake(g, seg);

	if (first && g->owner != UNDECIDED && !(g->flags & GUARD_NAMED) &&
	    !acts_for(cfg, g->owner, slot)) {
		note(skb, seg, g);
		return REASON_FOREIGN;
	}
	if (known && g->ack == seg->ack_seq && g->owner == UNDECIDED && !(g->flags & GUARD_DATA) &&
	    !is_heir(cfg, slot)) {
		record(skb, seg, cfg->self, GUARD_NAMED | inspected_by(inspector));
		return REASON_ADOPTED_YOUNG;
	}
	if (known)
		note_inspector(skb, seg, g, inspector);
	else
		record(skb, seg, UNDECIDED, GUARD_DATA | inspected_by(inspector));
	return stray_of(seg);
}

/* Does the record's owner count although its inspector may live? Not if other nodes' silence
 * named a third: the inspector, or who acts for it, says whose the connection is. */
static __always_inline bool is_told_of(struct ov_guarded *g, __u32 inspector)
{
	return g->flags & GUARD_NAMED || g->owner == inspector;
}

/* The segment finishes a handshake that names its inspector. */
static __always_inline enum reason on_inspector(struct __sk_buff *skb, struct ov_config *cfg,
						struct segment *seg, struct ov_guarded *g,
						__u32 inspector, __u32 slot, bool watch)
{
	__u32 data = seg->payload || seg->fin ? GUARD_DATA : 0;

	if (is_of_handshake(g, seg) && g->owner != UNDECIDED) {
		if (g->owner == cfg->self)
			return REASON_ADOPTED_YOUNG; /* there was no room for it yet */
		if (is_told_of(g, inspector) && acts_for(cfg, g->owner, slot))
			return on_young(skb, cfg, seg, g, g->owner, inspected_by(inspector), slot);
	}
	if (acts_for(cfg, inspector, slot))
		return on_uninspected(skb, cfg, seg, g, inspector, slot);
	if (is_known(g, seg))
		note_inspector(skb, seg, g, inspector);
	else if (g || watch || acts_for(cfg, UNDECIDED, slot))
		record(skb, seg, UNDECIDED, data | inspected_by(inspector));
	return REASON_FOREIGN;
}

/*
 * The inspector has decided: it is us, and this the client's segment, or it tells us by
 * a copy that looks like no segment of a client (handover.h). Of that neither the numbers
 * count, if we have seen better, nor its source.
 */
__noinline int note_owner(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
			  __u32 owner, __u32 inspector)
{
	__u32 slot, flags = GUARD_NAMED | inspected_by(inspector);
	struct ov_guarded *g;

	if (!cfg || !seg)
		return 0;
	slot = slot_of(flow_hash(&seg->flow));
	g = bpf_map_lookup_elem(&guarded, &seg->flow);
	flags |= seg->payload || seg->fin ? GUARD_DATA : 0;
	if (!is_known(g, seg)) {
		record(skb, seg, owner, flags);
		g = bpf_map_lookup_elem(&guarded, &seg->flow);
		if (g && seg->syn && !find_client(&seg->flow.client, (__be16 *)g->mac))
			__builtin_memset(g->mac, 0, sizeof(g->mac));
		return 0;
	}
	if (g->owner == cfg->self)
		return 0;
	if (is_double(g, seg->seq - 1, owner) && !acts_for(cfg, g->owner, slot))
		two_owners(skb, seg);
	g->isn = seg->seq - 1;
	g->owner = owner;
	g->inspector = inspector;
	g->flags |= flags;
	if (!seg->syn)
		note(skb, seg, g);
	return 0;
}

/* Anybody can send ACKs of connections that nobody has. Records of them would evict
 * those of others, so that few are made in a second; more where this node acts: orphans
 * whose guard is dead too are among them. */
#define UNKNOWN_A_SECOND 1024
#define UNKNOWN_ACTING 16384

static __always_inline bool may_record_unknown(bool acting)
{
	if (take_turn(PACE_UNKNOWN, acting ? UNKNOWN_ACTING : UNKNOWN_A_SECOND))
		return true;
	count(REASON_UNKNOWN_MANY);
	return false;
}

/* Its handshake names us, and we still wait for the first segment: the client may have
 * sent it before this one. Another handshake's SYN/ACK was forgotten (forget_lost). */
static __always_inline bool is_pending(struct segment *seg)
{
	return bpf_map_lookup_elem(&unheard, &seg->flow);
}

/* Any other segment: the record says whose it is, if there is one. None is made for a
 * port without a service. */
static __always_inline enum reason on_mid_stream(struct __sk_buff *skb, struct ov_config *cfg,
						 struct segment *seg, struct ov_guarded *g,
						 __u32 slot, bool watch)
{
	bool acting = acts_for(cfg, UNDECIDED, slot);

	if (g && is_stranger(g, seg))
		g = NULL; /* the tuple was used again, and we missed the beginning */
	if (g) {
		note(skb, seg, g);
	} else if ((watch || acting) && service_of(&seg->flow) && may_record_unknown(acting)) {
		record(skb, seg, UNDECIDED, GUARD_DATA);
		g = bpf_map_lookup_elem(&guarded, &seg->flow);
	}
	if (!acting || !g)
		return REASON_FOREIGN;
	if (g->owner == UNDECIDED)
		return is_pending(seg) ? REASON_FOREIGN : stray(seg, g);
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
	if (g->flags & GUARD_INSPECTED && g->inspector == owner && is_of_handshake(g, seg) &&
	    !acts_for(cfg, UNDECIDED, slot))
		return false; /* it says no more than that inspector has */
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

/* `cookie` is what was found out about it, or REASON_FOREIGN. Not static: the verifier
 * looks at it once. REASON_FOREIGN: nothing is to be done. */
__noinline int guard_segment(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
			     __u32 watch, int cookie)
{
	bool all = watch == WATCH_ALL;
	struct ov_guarded *g;
	__u32 owner, slot;

	if (!cfg || !seg || seg->syn)
		return REASON_FOREIGN;
	slot = slot_of(flow_hash(&seg->flow));
	g = bpf_map_lookup_elem(&guarded, &seg->flow);
	if (seg->rst) {
		if (g)
			on_rst(seg, g);
		return REASON_FOREIGN;
	}
	if (cookie == REASON_FOREIGN && may_name(cfg, seg, g, slot, watch))
		cookie = cookie_in(skb, cfg, seg);
	owner = cookie_owner(seg->ack_seq - 1);
	if (cookie == COOKIE_INSPECT)
		return on_inspector(skb, cfg, seg, g, owner, slot, all || watch == owner);
	if (cookie != COOKIE_VALID)
		return on_mid_stream(skb, cfg, seg, g, slot, all);
	if (acts_for(cfg, owner, slot))
		return on_young(skb, cfg, seg, g, owner, 0, slot);
	return on_named(skb, cfg, seg, g, owner, slot, all || watch == owner);
}

/* A segment of another node's connection, which was to be dropped for `cookie`, unless
 * that is valid. Gives the reason by which it shall leave. */
static __always_inline enum reason guard(struct __sk_buff *skb, struct ov_config *cfg,
					 struct segment *seg, int cookie)
{
	enum reason reason = is_valid(cookie) ? REASON_FOREIGN : cookie;
	__u32 watch = cfg->watch[slot_of(flow_hash(&seg->flow))];
	int out;

	if (watch == WATCH_NOBODY || reason == REASON_BAD_TCP_OPTIONS)
		return reason;
	out = guard_segment(skb, cfg, seg, watch, cookie);
	return out == REASON_FOREIGN ? reason : out;
}

#endif
