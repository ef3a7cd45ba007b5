/* SPDX-License-Identifier: GPL-2.0 */
/*
 * answer.h - a SYN becomes its SYN/ACK. No state is kept that
 * the handshake depends on: the owner, the options and their MAC are in the
 * sequence number and the timestamp (cookie.h).
 */
#ifndef ONEVIP_ANSWER_H
#define ONEVIP_ANSWER_H

#include "member.h"
#include "schedule.h"
#include "unheard.h"

/* Whom the answer names: the owner, or, where the first request is to name it, us as its
 * inspector. UNDECIDED: no node may be picked. */
static __always_inline __u32 name(struct ov_config *cfg, struct ov_service *svc,
				  struct segment *syn)
{
	syn->inspect = inspects(svc);
	if (!syn->inspect)
		return pick_owner(svc, &syn->flow);
	return can_pick(svc) ? cfg->self : UNDECIDED;
}

#define INITIAL_WINDOW 64240 /* unscaled (RFC 7323, 2.2); what the kernel begins with */

/* Grants what the SYN offered. SACK and window scale as offered; ECN if both
 * bits of its set-up are there. */
static __always_inline void grant(struct segment *seg, struct options *syn, struct ov_options *opt)
{
	opt->wscale = syn->wscale;
	opt->sack = syn->sack;
	opt->ecn = seg->ecn_setup;
	opt->mss_index = mss_index_of(syn->mss);
}

/* Writes the options in the kernel's order; gives their length in bytes. */
static __always_inline __u32 write_options(struct ov_config *cfg, struct segment *seg,
					   struct options *syn, __u32 tsval, struct packet_out *out)
{
	__u32 sack = syn->sack ? 0x04020000 : 0x01010000;
	__u32 scale = 0x01030300 | (cfg->window_scale & 15);

	out->options[0] = bpf_htonl(0x02040000 | (seg->v6 ? cfg->mss6 : cfg->mss4));
	if (syn->timestamps) {
		out->options[1] = bpf_htonl(sack | 0x080a);
		out->options[2] = bpf_htonl(tsval);
		out->options[3] = bpf_htonl(syn->tsval);
		if (syn->wscale == NO_WSCALE)
			return 16;
		out->options[4] = bpf_htonl(scale);
		return 20;
	}
	out->options[1] = bpf_htonl(syn->sack ? 0x01010402 : 0x01010101);
	if (syn->wscale == NO_WSCALE)
		return 8;
	out->options[2] = bpf_htonl(scale);
	return 12;
}

/* All of a SYN/ACK but its numbers, and whether ECN is granted. */
static __always_inline void write_syn_ack(struct ov_config *cfg, struct segment *seg,
					  struct options *o, __u32 tsval, struct packet_out *out)
{
	start_tcp(out, seg->flow.vip_port, seg->flow.client_port, 0);
	out->h.doff = (sizeof(out->h) + write_options(cfg, seg, o, tsval, out)) / 4;
	out->h.syn = 1;
	out->h.ack = 1;
	out->h.window = bpf_htons(INITIAL_WINDOW);
}

static __noinline bool make_syn_ack(struct ov_config *cfg, struct segment *seg,
				    struct options *syn, __u32 owner, struct packet_out *out)
{
	struct ov_key *key = &cfg->keys[cfg->epoch & 3];
	struct cookie c = {};
	__u64 mac;

	c.client_isn = seg->seq;
	c.epoch = key->epoch;
	c.owner = owner;
	c.timestamps = syn->timestamps;
	c.inspect = seg->inspect;
	grant(seg, syn, &c.opt);
	mac = cookie_mac(key, &seg->flow, &c);
	write_syn_ack(cfg, seg, syn, cookie_tsval(&c, mac), out);
	out->h.ece = c.opt.ecn;
	out->h.seq = bpf_htonl(cookie_isn(&c, mac));
	out->h.ack_seq = bpf_htonl(seg->seq + 1);
	return key->valid;
}

/* Every node that sees the SYN of a client without timestamps remembers what it
 * offered: whichever is named owner will need it. */
static __always_inline void record_syn(struct segment *seg, struct options *syn)
{
	struct ov_syn_key key = { .flow = seg->flow, .isn = seg->seq };
	struct ov_options opt;

	grant(seg, syn, &opt);
	bpf_map_update_elem(&syn_records, &key, &opt, BPF_ANY);
}

/* The owner's own copy of that SYN may have been lost: it gets ours, from our
 * address, as the switch wants it between members. */
static __noinline void copy_syn_to(struct __sk_buff *skb, struct ov_config *cfg,
				  __u32 owner)
{
	struct ov_member *m = find_member(owner);
	struct addresses was;

	if (!m || bpf_skb_load_bytes(skb, 0, &was, sizeof(was)) || !address_to(skb, cfg, m))
		return;
	bpf_clone_redirect(skb, skb->ifindex, 0);
	bpf_skb_store_bytes(skb, 0, &was, sizeof(was), 0);
}

/* The SYN has an owner, and becomes its SYN/ACK: GO_ON. */
static __noinline int answer(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
			     struct options *syn, __u32 owner)
{
	struct packet_out out;

	if (!make_syn_ack(cfg, seg, syn, owner, &out))
		return drop(REASON_NOT_READY);
	if (!syn->timestamps && owner != cfg->self)
		copy_syn_to(skb, cfg, owner);
	if (!replace_packet(skb, seg, &out, out.h.doff * 4, true))
		return drop(REASON_REWRITE_FAILED);
	if (owner == cfg->self)
		keep_answer(seg, &out);
	return GO_ON;
}

#endif
