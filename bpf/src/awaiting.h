/* SPDX-License-Identifier: GPL-2.0 */
/*
 * awaiting.h - SYNs that wait for their primary's answer at the secondary, each
 * with a timer. Evidence of an answer (evidence.h) takes them away, and the timer
 * with them; so where all goes well, nobody is woken.
 */
#ifndef ONEVIP_AWAITING_H
#define ONEVIP_AWAITING_H

#include "answer.h"
#include "notices.h"

/* A SYN that the client sends again within this time after we answered it is not
 * made to wait once more: it re-sends after 1 s and 3 s. */
#define REMEMBERED (4 * NSEC_PER_SEC)

#define TIMER_SLACK (16ULL << TICK_SHIFT) /* timers are late, never early */

static __always_inline void trace_awaiting(struct ov_flow *f, __u64 ns)
{
	struct ov_trace *trace = trace_of(f);

	if (trace)
		trace->awaited = ticks_from_now(ns + TIMER_SLACK);
}

/* As copy_syn_to, by way of the agent: the SYN of a client without timestamps, with
 * what its record needs. */
static __noinline void tell_syn(struct segment *syn, const struct options *opt,
				const struct ether_out *was, __u32 owner)
{
	struct ov_member *m = bpf_map_lookup_elem(&members, &owner);
	struct ether_out eth = *was;
	struct packet_out out;
	struct ov_notice *n;

	if (!m || !m->known)
		return;
	__builtin_memcpy(eth.dest, m->mac, ETH_ALEN);
	__builtin_memcpy(eth.source, was->dest, ETH_ALEN);
	start_tcp(&out, syn->flow.client_port, syn->flow.vip_port, sizeof(out.h) + 12);
	out.options[0] = bpf_htonl(0x02040000 | opt->mss);
	out.options[1] = bpf_htonl(opt->sack ? 0x01010402 : 0x01010101);
	out.options[2] = bpf_htonl(opt->wscale == NO_WSCALE ? 0x01010101 : 0x01030300 | opt->wscale);
	out.h.syn = 1;
	out.h.ece = out.h.cwr = syn->ecn_setup;
	out.h.seq = bpf_htonl(syn->seq);
	write_headers(&eth, syn, &out, sizeof(out.h) + 12, false);
	n = start_notice(NOTICE_COPY, &syn->flow);
	if (!n)
		return;
	n->owner = owner;
	n->len = copy_frame(&out, syn->v6, n->frame);
	bpf_ringbuf_submit(n, 0);
}

/* Answers for the primary, by way of the agent: a timer can't send a packet. */
static __noinline void answer_late(struct ov_config *cfg, struct ov_flow *f, __u32 isn,
				   struct ov_awaiting *w)
{
	struct segment syn = { .flow = *f, .seq = isn, .v6 = w->v6, .ecn_setup = w->ecn_setup };
	struct ov_service *svc = service_of(f);
	struct options opt = w->syn;
	struct packet_out out;
	struct ov_notice *n;
	__u32 owner;

	owner = svc ? pick_owner(svc, f) : UNDECIDED;
	if (owner == UNDECIDED)
		return count(REASON_NO_NODE);
	if (!make_syn_ack(cfg, &syn, &opt, owner, &out))
		return count(REASON_NOT_READY);
	if (!opt.timestamps && owner != cfg->self)
		tell_syn(&syn, &opt, (struct ether_out *)w->ethernet, owner);
	write_headers((struct ether_out *)w->ethernet, &syn, &out, out.h.doff * 4, true);
	if (owner == cfg->self)
		keep_answer(&syn, &out);
	n = start_notice(NOTICE_SEND, f);
	if (!n)
		return;
	n->primary = primary_of(f);
	n->owner = owner;
	n->len = copy_frame(&out, syn.v6, n->frame);
	bpf_ringbuf_submit(n, 0);
	count(REASON_SPECULATED);
}

/* Whoever takes a SYN away from the place leaves it free. */
static __always_inline void free_place(struct ov_awaiting *w)
{
	__sync_lock_test_and_set(&w->taken, 0);
}

static __always_inline struct ov_awaiting *place_of(const struct ov_syn_key *key)
{
	__u32 place = mix(flow_hash(&key->flow), key->isn) & (AWAITING_PLACES - 1);

	return bpf_map_lookup_elem(&awaiting, &place);
}

static __always_inline bool is_of(const struct ov_awaiting *w, const struct ov_syn_key *key)
{
	const __u64 *a = (const __u64 *)&w->key, *b = (const __u64 *)key;

	for (int i = 0; i < (int)(sizeof(*key) / 8); i++)
		if (a[i] != b[i])
			return false;
	return w->taken;
}

/* The timer's end: first the delay's, then that of the memory. */
static int on_timer(void *map, __u32 *place, struct ov_awaiting *w)
{
	struct ov_config *cfg = get_config();
	struct ov_syn_key key = w->key;

	if (!w->taken)
		return 0;
	if (w->answered || !cfg || !cfg->self || cfg->stood_down || !cfg->speculates) {
		free_place(w);
		return 0;
	}
	w->answered = 1;
	trace_awaiting(&key.flow, REMEMBERED);
	answer_late(cfg, &key.flow, key.isn, w);
	bpf_timer_start(&w->timer, REMEMBERED, 0);
	return 0;
}

/* The first SYN in a place makes its timer. */
static __always_inline bool start_timer(struct ov_awaiting *w, __u64 delay)
{
	long err = bpf_timer_init(&w->timer, &awaiting, CLOCK_MONOTONIC);

	if (err && err != -EBUSY)
		return false;
	if (bpf_timer_set_callback(&w->timer, on_timer))
		return false;
	return !bpf_timer_start(&w->timer, delay, 0);
}

/* Waits for the primary: AWAITING. Or the reason to answer the SYN now. Not static: see
 * walk_options. */
__noinline enum reason await(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
			     struct options *syn)
{
	struct ov_syn_key key = {};
	struct ov_awaiting *w;

	if (!cfg || !seg || !syn)
		return REASON_NOT_READY;
	key.flow = seg->flow;
	key.isn = seg->seq;
	w = place_of(&key);
	if (!w)
		return REASON_ANSWERED_UNTIMED;
	if (is_of(w, &key))
		return REASON_ANSWERED_SECOND_SYN;
	if (__sync_val_compare_and_swap(&w->taken, 0, 1))
		return REASON_ANSWERED_UNTIMED;
	w->key = key;
	w->syn = *syn;
	w->v6 = seg->v6;
	w->ecn_setup = seg->ecn_setup;
	w->answered = 0;
	if (bpf_skb_load_bytes(skb, 0, w->ethernet, ETHERNET_SIZE) || !start_timer(w, cfg->delay)) {
		free_place(w);
		return REASON_ANSWERED_UNTIMED;
	}
	trace_awaiting(&seg->flow, cfg->delay);
	return REASON_AWAITING;
}

static __always_inline bool is_awaiting(const struct ov_syn_key *key)
{
	struct ov_awaiting *w = place_of(key);

	return w && is_of(w, key);
}

/* The SYN is answered. */
static __always_inline void stop(const struct ov_syn_key *key)
{
	struct ov_awaiting *w = place_of(key);

	if (!w || !is_of(w, key))
		return;
	bpf_timer_cancel(&w->timer);
	free_place(w);
}

#endif
