/* SPDX-License-Identifier: GPL-2.0 */
/*
 * reuse.h - one owner per tuple, also when a client uses its tuple again.
 *
 * The new connection may be named to another node, or to this one; the old
 * socket must go in either case. The proof that the client means it is a valid
 * cookie for another ISN of its own; a SYN proves nothing, it can be spoofed.
 * Then the segment becomes the RST that ends the old socket, after a copy of it
 * was sent to the same door again: it finds the socket gone, and may be adopted.
 */
#ifndef ONEVIP_REUSE_H
#define ONEVIP_REUSE_H

#include "member.h"
#include "unheard.h"

/* On the copy, so that it is not copied again if the old socket did not go. */
#define MARK_AGAIN 0x4f4e4556 /* "ONEV" */

/* COOKIE_VALID, COOKIE_INSPECT, or a reason why it is neither. Not static: the verifier
 * looks at it once. */
__noinline int cookie_in(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg)
{
	struct options ts;
	struct cookie c;

	if (!cfg || !seg || !seg->ack || seg->rst)
		return REASON_FOREIGN;
	if (!parse_options(skb, seg, &ts))
		return REASON_BAD_TCP_OPTIONS;
	return check_cookie(cfg, seg, &ts, &c);
}

static __always_inline void note_handed(struct __sk_buff *skb, struct ov_config *cfg,
					struct segment *seg)
{
	seg->handed = is_handed(skb, cfg, seg) && is_for_us(skb, cfg, seg);
	if (seg->handed)
		take_options(skb, seg);
}

static __always_inline bool is_valid(int cookie)
{
	return cookie == COOKIE_VALID || cookie == COOKIE_INSPECT;
}

static __always_inline bool has_valid_cookie(struct __sk_buff *skb, struct ov_config *cfg,
					     struct segment *seg)
{
	return !seg->syn && is_valid(cookie_in(skb, cfg, seg));
}

/* Ends the old socket, which expects rcv_nxt. */
static __noinline int end_old(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
			      __u32 rcv_nxt, enum reason reason)
{
	__u32 mark = skb->mark;

	if (mark == MARK_AGAIN)
		return drop(REASON_REUSE_STUCK);
	if (cookie_owner(seg->ack_seq - 1) == cfg->self || seg->handed) {
		skb->mark = MARK_AGAIN;
		bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS);
		skb->mark = mark;
	}
	return raise_rst(skb, seg, rcv_nxt, reason);
}

/* The tombstone of the segment's tuple. The trace spares nearly all others the look
 * into the map. */
static __always_inline struct ov_tombstone *find_tombstone(struct segment *seg,
							   struct traced traced)
{
	return traced.closed ? bpf_map_lookup_elem(&tombstones, &seg->flow) : NULL;
}

/* A SYN with another ISN: what comes for this tuple from now on may belong to
 * another node. If the SYN was spoofed, silence takes the place of a RST. */
static __always_inline void supersede(struct segment *seg, struct traced traced)
{
	struct ov_tombstone *t = find_tombstone(seg, traced);

	if (t && t->isn != seg->seq)
		t->superseded = 1;
}

#define OLD_WINDOW (1U << 20) /* bytes beyond its end that a closed connection may still get */

/* Does the segment belong to the connection that closed, rather than to a newer
 * one of the same tuple whose SYN we missed? */
static __noinline bool is_of_old(struct __sk_buff *skb, struct ov_config *cfg,
				 struct segment *seg, struct ov_tombstone *t)
{
	if (!t || t->superseded)
		return false;
	if (seg->seq - t->isn > t->rcv_nxt - t->isn + OLD_WINDOW)
		return false;
	if (seg->seq - 1 != t->isn && has_valid_cookie(skb, cfg, seg)) {
		t->superseded = 1;
		return false;
	}
	return true;
}

/* A tuple in TIME_WAIT. Its rcv_nxt moved into sock_common in Linux 6.18. */
static __always_inline bool time_wait_rcv_nxt(struct bpf_sock *sk, __u32 *rcv_nxt)
{
	struct tcp_timewait_sock *tw = bpf_skc_to_tcp_timewait_sock(sk);
	struct tcp_timewait_sock___old *old = (void *)tw;

	if (!tw)
		return false;
	if (bpf_core_field_exists(old->tw_rcv_nxt))
		*rcv_nxt = BPF_CORE_READ(old, tw_rcv_nxt);
	else
		*rcv_nxt = BPF_CORE_READ(tw, tw_sk.__tw_common.skc_tw_rcv_nxt);
	return true;
}

/* Is this the first segment of the very connection that rests here, once more? */
static __always_inline bool is_old_first(struct segment *seg, __u32 rcv_nxt)
{
	struct ov_tombstone *t = bpf_map_lookup_elem(&tombstones, &seg->flow);

	if (t)
		return t->isn == seg->seq - 1;
	return (__s32)(seg->seq - rcv_nxt) <= 0;
}

static __always_inline void supersede_by(struct segment *seg)
{
	struct ov_tombstone *t = bpf_map_lookup_elem(&tombstones, &seg->flow);

	if (t)
		t->superseded = 1;
}

static __noinline int in_time_wait(struct __sk_buff *skb, struct ov_config *cfg,
				   struct segment *seg, __u32 rcv_nxt)
{
	if (seg->seq == rcv_nxt || is_old_first(seg, rcv_nxt))
		return pass(REASON_OWN);
	note_handed(skb, cfg, seg);
	if (!has_valid_cookie(skb, cfg, seg))
		return pass(REASON_OWN);
	supersede_by(seg);
	return end_old(skb, cfg, seg, rcv_nxt, REASON_REUSE_TIME_WAIT);
}

/*
 * May this segment belong to another connection of the same tuple? Cheap, for
 * every segment of ours: either a SYN has marked the socket, or the sequence
 * number is out of any window.
 */
static __always_inline bool is_strange(struct bpf_sock *sk, __u32 seq, __u32 rcv_nxt)
{
	struct ov_mark *m = bpf_sk_storage_get(&marks, sk, NULL, 0);

	if (m && m->marked && m->isn == seq - 1)
		return true;
	return seq - rcv_nxt > MAX_WINDOW;
}

/* A strange segment on a live socket. `first` is the sequence number of the
 * first byte that this socket ever got. */
static __noinline int on_live(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
			      __u32 rcv_nxt, __u32 first)
{
	if (seg->seq == first)
		return pass(REASON_OWN);
	note_handed(skb, cfg, seg);
	if (!has_valid_cookie(skb, cfg, seg))
		return pass(REASON_OWN);
	return end_old(skb, cfg, seg, rcv_nxt, REASON_REUSE_LIVE);
}

/* A SYN on a tuple that has a socket here: only marked, it may be spoofed. The
 * scheduler answers it as any other. */
static __always_inline void mark_live(struct bpf_sock *sk, __u32 isn)
{
	struct ov_mark mark = { .isn = isn, .marked = 1 };
	struct ov_mark *m = bpf_sk_storage_get(&marks, sk, &mark, BPF_SK_STORAGE_GET_F_CREATE);

	if (m)
		*m = mark;
}

#endif
