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

/* The timer's end: first the delay's, then that of the memory. */
static int on_timer(void *map, struct ov_syn_key *key, struct ov_awaiting *w)
{
	struct ov_config *cfg = get_config();
	struct ov_flow f = key->flow;

	if (w->answered || !cfg || !cfg->self || cfg->stood_down || !cfg->speculates) {
		bpf_map_delete_elem(&awaiting, key);
		return 0;
	}
	w->answered = 1;
	trace_awaiting(&f, REMEMBERED);
	answer_late(cfg, &f, key->isn, w);
	bpf_timer_start(&w->timer, REMEMBERED, 0);
	return 0;
}

static __always_inline bool start_timer(struct ov_awaiting *w, __u64 delay)
{
	if (bpf_timer_init(&w->timer, &awaiting, CLOCK_MONOTONIC))
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
	struct ov_awaiting *w, fresh = {};
	struct ov_syn_key key = {};

	if (!cfg || !seg || !syn)
		return REASON_NOT_READY;
	key.flow = seg->flow;
	key.isn = seg->seq;
	fresh.syn = *syn;
	fresh.v6 = seg->v6;
	fresh.ecn_setup = seg->ecn_setup;
	if (bpf_map_lookup_elem(&awaiting, &key))
		return REASON_ANSWERED_SECOND_SYN;
	if (bpf_skb_load_bytes(skb, 0, fresh.ethernet, ETHERNET_SIZE) ||
	    bpf_map_update_elem(&awaiting, &key, &fresh, BPF_NOEXIST))
		return REASON_ANSWERED_UNTIMED;
	w = bpf_map_lookup_elem(&awaiting, &key);
	if (!w || !start_timer(w, cfg->delay)) {
		bpf_map_delete_elem(&awaiting, &key);
		return REASON_ANSWERED_UNTIMED;
	}
	trace_awaiting(&seg->flow, cfg->delay);
	return REASON_AWAITING;
}

#endif
