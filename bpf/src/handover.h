/* SPDX-License-Identifier: GPL-2.0 */
/*
 * handover.h - the way of layer 7. Whoever's SYN/ACK the client took is the inspector
 * of its connection, and alone decides whose it is, by its first data: the segment then
 * goes there as it came, from the inspector's address, and the kernel there makes the
 * socket. Nothing is proxied: what follows reaches the owner by itself.
 *
 * A decision stands: all that comes of the handshake goes the same way.
 */
#ifndef ONEVIP_HANDOVER_H
#define ONEVIP_HANDOVER_H

#include "evidence.h"
#include "guard.h"
#include "inspect.h"
#include "locality.h"
#include "sample.h"
#include "silence.h"

/* What follows the first segment closely may overtake it on its detour, and finds no
 * socket then: it is sent after it. */
#define FOLLOW_FOR (100 * NSEC_PER_MSEC)

#define CLOSED 255 /* for an owner: nobody gets what was reset */

/* Whose the handshake is; UNDECIDED: not decided yet. */
static __always_inline __u32 decided(const struct segment *seg)
{
	struct ov_handover *h = bpf_map_lookup_elem(&handovers, &seg->flow);
	__u64 decision = h ? h->decision : 0;

	return (__u32)decision == seg->seq - 1 ? decision >> 32 : UNDECIDED;
}

/* Notes the decision; of several CPUs that decide at once, that of the first. UNDECIDED:
 * it could not be noted, and one that is not must not stand. */
static __noinline __u32 decide(struct segment *seg, __u32 owner)
{
	struct ov_handover next = { .decision = (__u64)owner << 32 | (seg->seq - 1) };
	struct ov_handover *h;
	__u64 was;

	next.first_ack = seg->ack_seq;
	if (!bpf_map_update_elem(&handovers, &seg->flow, &next, BPF_NOEXIST))
		return owner;
	h = bpf_map_lookup_elem(&handovers, &seg->flow);
	if (!h)
		return UNDECIDED;
	was = h->decision;
	if ((__u32)was == seg->seq - 1)
		return was >> 32;
	if (__sync_val_compare_and_swap(&h->decision, was, next.decision) != was) {
		was = h->decision;
		return (__u32)was == seg->seq - 1 ? was >> 32 : UNDECIDED;
	}
	h->first_ack = seg->ack_seq;
	h->superseded = 0;
	return owner;
}

/* A SYN that we answer: what comes for this tuple from now on may be of its handshake. The
 * decision stays, the SYN may be spoofed. */
static __always_inline void supersede_decision(const struct segment *syn)
{
	struct ov_handover *h = bpf_map_lookup_elem(&handovers, &syn->flow);

	if (h && (__u32)h->decision != syn->seq)
		h->superseded = 1;
}

/* Is it the middle of a connection that we have given to another? Its acknowledgements
 * may name us for 16 MB on; no cookie need be checked to know that they don't, unless a SYN
 * says that the tuple is in use again (`superseded`). */
static __always_inline bool is_given_away(struct ov_config *cfg, const struct segment *seg,
					  bool superseded)
{
	struct ov_handover *h;
	__u64 decision;

	if (!cfg->inspects)
		return false;
	h = bpf_map_lookup_elem(&handovers, &seg->flow);
	if (!h || (h->superseded && !superseded))
		return false;
	decision = h->decision;
	return decision >> 32 != cfg->self && seg->seq - 1 != (__u32)decision &&
	       seg->seq - (__u32)decision < MAX_WINDOW;
}

#define NOT_INSPECTED (-1)

static __always_inline bool is_urgent(struct __sk_buff *skb, const struct segment *seg)
{
	__u8 flags;

	return !bpf_skb_load_bytes(skb, seg->l4 + 13, &flags, sizeof(flags)) && flags & FLAG_URG;
}

/* Has the segment a key? INSPECTED and seg->hash, or an enum fallback. NOT_INSPECTED: the
 * service looks at requests no more, or the segment can not say for whom it is. Not static,
 * as the two that follow: the verifier looks at them once, and each call begins high on the
 * stack. */
__noinline int look(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg)
{
	struct ov_service svc;
	struct ov_rules *r;
	__u64 hash = 0;
	int why;

	if (!cfg || !seg || !find_service(cfg, &seg->flow, &svc) || !inspects(&svc) ||
	    is_urgent(skb, seg))
		return NOT_INSPECTED;
	r = rules_of(&svc);
	why = r && seg->payload ? inspect(skb, seg, r, &hash) : F_SILENT;
	if (r && why == INSPECTED)
		note_sample(svc.id, r, hash);
	seg->hash = hash;
	return why;
}

__noinline __u32 place_by_key(struct ov_config *cfg, struct segment *seg)
{
	struct ov_service svc;
	struct ov_rules *r;

	if (!cfg || !seg || !find_service(cfg, &seg->flow, &svc))
		return UNDECIDED;
	r = rules_of(&svc);
	return r ? pick_by_locality(&svc, r, seg->hash) : UNDECIDED;
}

__noinline __u32 place_by_load(struct ov_config *cfg, struct segment *seg, __u32 why)
{
	struct ov_service svc;

	if (!cfg || !seg || !find_service(cfg, &seg->flow, &svc))
		return UNDECIDED;
	count_fallback(svc.id, why);
	return best_of(&svc);
}

/* The owner that the first request asks for; UNDECIDED: no node may be picked. */
static __always_inline __u32 choose(struct __sk_buff *skb, struct ov_config *cfg,
				    struct segment *seg)
{
	int why = look(skb, cfg, seg);

	if (why == INSPECTED)
		return place_by_key(cfg, seg);
	return why == NOT_INSPECTED ? cfg->self : place_by_load(cfg, seg, why);
}

/* The segment goes to another member as it is. */
static __always_inline int hand(struct __sk_buff *skb, struct ov_config *cfg, __u32 to,
				enum reason reason)
{
	struct ov_member *m = find_member(to);

	if (!m)
		return drop(REASON_NO_MEMBER);
	if (!address_to(skb, cfg, m))
		return drop(REASON_REWRITE_FAILED);
	return reply(skb, reason);
}

/* Who guards what `owner` owns; UNDECIDED: nobody. See scheduler.GuardOf. */
static __always_inline __u32 guard_of(const struct ov_flow *f, __u32 owner)
{
	struct ov_slots *table = get_slots();
	__u32 slot = slot_of(flow_hash(f)), guard;

	if (!table)
		return UNDECIDED;
	guard = table->secondary[slot] != owner ? table->secondary[slot] : table->primary[slot];
	return guard != owner ? guard : UNDECIDED;
}

/* Writes the flags and the window, and mends the checksum. */
static __always_inline bool put_rest(struct __sk_buff *skb, __u32 at, __be32 was, __be32 now)
{
	return !bpf_skb_store_bytes(skb, at, &now, sizeof(now), 0) &&
	       !bpf_l4_csum_replace(skb, at + 4, was, now, sizeof(now));
}

#define FLAGS_SYN_ACK 0x12

/* By a copy of the segment with the flags of a SYN/ACK, which nobody sends to a VIP, and the
 * owner and us for a window. */
static __always_inline int tell(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
				__u32 owner, struct ov_member *guard)
{
	union { __be32 word; struct { __u8 offset, flags, owner, inspector; }; } was, now;
	struct addresses addresses;
	__u32 at = seg->l4 + 12;

	if (bpf_skb_load_bytes(skb, 0, &addresses, sizeof(addresses)) ||
	    bpf_skb_load_bytes(skb, at, &was, sizeof(was)))
		return 0;
	now = was;
	now.flags = FLAGS_SYN_ACK | (was.flags & FLAG_URG);
	now.owner = owner;
	now.inspector = cfg->self;
	if (put_rest(skb, at, was.word, now.word) && address_to(skb, cfg, guard))
		bpf_clone_redirect(skb, skb->ifindex, 0);
	put_rest(skb, at, now.word, was.word);
	return bpf_skb_store_bytes(skb, 0, &addresses, sizeof(addresses), 0);
}

/*
 * Tells the guard who the owner is. If we are the guard we know; but then, who guards what
 * we inspect does not, and would take the connection for undecided when we fail. Not static:
 * see walk_options.
 */
__noinline int tell_guard(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
			  __u32 owner, bool again)
{
	struct ov_member *m;
	__u32 guard;

	if (!cfg || !seg)
		return 0;
	guard = guard_of(&seg->flow, owner);
	if (guard == cfg->self) {
		note_owner(skb, cfg, seg, owner, cfg->self);
		guard = guard_of(&seg->flow, cfg->self);
	}
	m = guard != owner && !again ? find_member(guard) : NULL;
	return m ? tell(skb, cfg, seg, owner, m) : 0;
}

/* The other side. Not static: see walk_options. */
__noinline int on_told(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg)
{
	struct { __u8 owner, inspector; } window;

	if (!cfg || !seg || bpf_skb_load_bytes(skb, seg->l4 + 14, &window, sizeof(window)))
		return drop(REASON_FOREIGN);
	take_options(skb, seg);
	if (window.owner == UNDECIDED || window.inspector != cookie_owner(seg->ack_seq - 1) ||
	    cookie_in(skb, cfg, seg) != COOKIE_INSPECT)
		return drop(REASON_FOREIGN);
	note_owner(skb, cfg, seg, window.owner, window.inspector);
	return drop(REASON_TOLD);
}

/* Was one handed over in this tick already? Who sends it again and again shall not have as
 * many frames sent to the guard. */
static __always_inline bool trace_handed(struct ov_flow *f)
{
	__u32 until = ticks_from_now(FOLLOW_FOR);
	struct ov_trace *trace = trace_of(f);

	if (!trace || trace->handed == until)
		return trace;
	trace->handed = until;
	return false;
}

#define TO_GUARD (-102) /* no verdict: the owner has failed, and this node acts for it */

static __always_inline int on_decided(struct __sk_buff *skb, struct ov_config *cfg,
				      struct segment *seg, __u32 owner)
{
	carry(skb, cfg, seg, owner);
	tell_guard(skb, cfg, seg, owner, trace_handed(&seg->flow));
	if (owner == cfg->self)
		return GO_ON;
	return hand(skb, cfg, owner, REASON_HANDED_OVER);
}

/* The client gets nobody, now and if its request is on its way already. */
static __always_inline int close_silent(struct __sk_buff *skb, struct segment *seg)
{
	forget_unheard(&seg->flow);
	return reply_rst(skb, seg, REASON_SILENT_CLOSED);
}

/* The verdict on a bare ACK of a handshake that is not decided; GO_ON: it decides. */
static __always_inline int on_silent(struct __sk_buff *skb, struct ov_config *cfg,
				     struct segment *seg)
{
	__u32 owner;

	switch (silence(skb, cfg, seg)) {
	case SILENCE_SHORT:
		return drop(REASON_UNDECIDED);
	case SILENCE_CLOSE:
		owner = decide(seg, CLOSED);
		if (owner == CLOSED || owner == UNDECIDED)
			return close_silent(skb, seg);
	}
	return GO_ON;
}

/* The handshake's last segment, or the first data: it names us as inspector. GO_ON: the
 * connection is ours. What a silent client got is sent again until we hear from it. Not
 * static: see walk_options. */
__noinline int on_first(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg)
{
	struct ov_guarded *g;
	__u32 owner;
	int verdict;
	bool asks;

	if (!cfg || !seg)
		return drop(REASON_NOT_READY);
	asks = seg->payload || seg->fin;
	owner = decided(seg);
	if (owner == CLOSED)
		return close_silent(skb, seg);
	if (owner != UNDECIDED && acts_for(cfg, owner, slot_of(flow_hash(&seg->flow)))) {
		g = bpf_map_lookup_elem(&guarded, &seg->flow);
		if (!g || g->owner == UNDECIDED)
			note_owner(skb, cfg, seg, owner, cfg->self);
		return TO_GUARD;
	}
	if (owner == UNDECIDED) {
		verdict = asks ? GO_ON : on_silent(skb, cfg, seg);
		if (verdict != GO_ON)
			return verdict;
		owner = choose(skb, cfg, seg);
		if (owner == UNDECIDED)
			return drop(REASON_NO_NODE);
		if (owner != cfg->self && !find_member(owner))
			return drop(REASON_NO_MEMBER); /* it stays undecided */
		owner = decide(seg, owner);
		if (owner == UNDECIDED || owner == CLOSED)
			return drop(REASON_DECISION_LOST);
	}
	if (asks)
		forget_unheard(&seg->flow);
	return on_decided(skb, cfg, seg, owner);
}

/* The owner of the handshake that the segment, which is not its first, belongs to, if
 * that one has not spoken yet. */
static __always_inline __u32 owner_of_follower(struct ov_config *cfg, const struct segment *seg)
{
	struct ov_handover *h = bpf_map_lookup_elem(&handovers, &seg->flow);
	__u64 decision = h ? h->decision : 0;
	__u32 owner = decision >> 32;

	if (!h || h->first_ack != seg->ack_seq || seg->seq - (__u32)decision >= MAX_WINDOW)
		return UNDECIDED;
	return owner == cfg->self || owner == CLOSED ? UNDECIDED : owner;
}

/* A segment that names us and makes no socket here: it was to be dropped for `reason`. */
static __noinline int follow(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
			     enum reason reason)
{
	__u32 owner = owner_of_follower(cfg, seg);

	return owner == UNDECIDED ? drop(reason) : hand(skb, cfg, owner, REASON_FOLLOWED);
}

#endif
