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

/* What follows the first segment closely may overtake it on its detour, and finds no
 * socket then: it is sent after it. */
#define FOLLOW_FOR (100 * NSEC_PER_MSEC)

/* Whose the handshake is; UNDECIDED: not decided yet. */
static __always_inline __u32 decided(const struct segment *seg)
{
	struct ov_handover *h = bpf_map_lookup_elem(&handovers, &seg->flow);
	__u64 decision = h ? h->decision : 0;

	return (__u32)decision == seg->seq - 1 ? decision >> 32 : UNDECIDED;
}

/* Notes the decision; of several CPUs that decide at once, that of the first. */
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
		return owner;
	was = h->decision;
	if ((__u32)was != seg->seq - 1)
		was = __sync_val_compare_and_swap(&h->decision, was, next.decision);
	if ((__u32)was == seg->seq - 1)
		return was >> 32;
	h->first_ack = seg->ack_seq;
	return owner;
}

#define NOT_INSPECTED (-1)

/* Has the segment a key? INSPECTED and seg->hash, or an enum fallback. NOT_INSPECTED: the
 * service looks at requests no more. Not static, as the two that follow: the verifier
 * looks at them once, and each call begins high on the stack. */
__noinline int look(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg)
{
	struct ov_service svc;
	struct ov_rules *r;
	__u64 hash = 0;
	int why;

	if (!cfg || !seg || !find_service(cfg, &seg->flow, &svc) || !inspects(&svc))
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
	return pick_least(&svc);
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

static __always_inline void trace_handed(struct ov_flow *f)
{
	struct ov_trace *trace = trace_of(f);

	if (trace)
		trace->handed = ticks_from_now(FOLLOW_FOR);
}

/* The handshake's last segment, or the first data: it names us as inspector. GO_ON: the
 * connection is ours. */
static __always_inline int on_first(struct __sk_buff *skb, struct ov_config *cfg,
				    struct segment *seg)
{
	__u32 owner = decided(seg);

	if (owner == UNDECIDED) {
		if (!seg->payload && !seg->fin)
			return drop(REASON_UNDECIDED);
		owner = choose(skb, cfg, seg);
		if (owner == UNDECIDED)
			return drop(REASON_NO_NODE);
		owner = decide(seg, owner);
	}
	forget_unheard(&seg->flow);
	if (owner == cfg->self)
		return GO_ON;
	carry_options(skb, seg);
	trace_handed(&seg->flow);
	return hand(skb, cfg, owner, REASON_HANDED_OVER);
}

/* The owner of the handshake that the segment, which is not its first, belongs to, if
 * that one has not spoken yet. */
static __always_inline __u32 owner_of_follower(struct ov_config *cfg, const struct segment *seg)
{
	struct ov_handover *h = bpf_map_lookup_elem(&handovers, &seg->flow);
	__u64 decision = h ? h->decision : 0;

	if (!h || h->first_ack != seg->ack_seq || seg->seq - (__u32)decision >= MAX_WINDOW)
		return UNDECIDED;
	return decision >> 32 == cfg->self ? UNDECIDED : decision >> 32;
}

/* A segment that names us and makes no socket here: it was to be dropped for `reason`. */
static __noinline int follow(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
			     enum reason reason)
{
	__u32 owner = owner_of_follower(cfg, seg);

	return owner == UNDECIDED ? drop(reason) : hand(skb, cfg, owner, REASON_FOLLOWED);
}

#endif
