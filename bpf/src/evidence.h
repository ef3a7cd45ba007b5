/* SPDX-License-Identifier: GPL-2.0 */
/*
 * evidence.h - what shows that a SYN was answered, and by whom: the client's next
 * segment, and the copies of SYN/ACKs from a VIP that the switch gives to all
 * members but the one that sends it.
 */
#ifndef ONEVIP_EVIDENCE_H
#define ONEVIP_EVIDENCE_H

#include "adopt.h"
#include "speculate.h"

/* The SYN with this ISN is answered: its timer ends. */
static __noinline void stop_awaiting(struct ov_flow *f, __u32 isn)
{
	struct ov_syn_key key = { .flow = *f, .isn = isn };

	stop(&key);
}

/* May the client's segment be of a SYN that waits here? Not static: see walk_options. */
__noinline bool may_be_awaited(struct segment *seg)
{
	struct ov_syn_key key = {};

	if (!seg)
		return false;
	key.flow = seg->flow;
	key.isn = seg->seq - 1;
	return is_awaiting(&key);
}

/* A segment of a client without a socket here. Most leave no trace. */
static __always_inline void learn(struct __sk_buff *skb, struct ov_config *cfg,
				  struct segment *seg, struct traced traced)
{
	if (traced.awaited && may_be_awaited(seg) && has_valid_cookie(skb, cfg, seg))
		stop_awaiting(&seg->flow, seg->seq - 1);
	if (traced.unheard)
		forget_lost(seg);
}

/* A SYN: a SYN/ACK to an older one is not for sending again. */
static __always_inline void forget_superseded(struct segment *seg, struct traced traced)
{
	if (traced.unheard)
		forget_older(&seg->flow, seg->seq);
}

/* A copy of a SYN comes from one who answers it. */
static __always_inline int on_copy(struct segment *seg, struct traced traced)
{
	if (traced.awaited)
		stop_awaiting(&seg->flow, seg->seq);
	return drop(REASON_SYN_COPY);
}

/* Another member's SYN/ACK to the client. Not static: see walk_options. */
__noinline int on_mirrored(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg)
{
	struct traced traced;
	__u32 isn;

	if (!cfg || !seg)
		return drop(REASON_MIRRORED);
	traced = look_up_traces(&seg->flow, cfg->lifetime);
	isn = seg->ack_seq - 1;
	if (traced.awaited)
		stop_awaiting(&seg->flow, isn);
	if (cfg->self && !cfg->stood_down && cookie_owner(seg->seq) == cfg->self)
		keep_mirrored(skb, cfg, seg);
	else if (traced.unheard)
		forget_older(&seg->flow, isn);
	return drop(REASON_MIRRORED);
}

/* A segment from a VIP to elsewhere. Our flows are the client's view: turned round. */
static __always_inline int on_from_vip(struct __sk_buff *skb, struct ov_config *cfg,
				       struct segment *seg, struct tcphdr *tcp, void *end)
{
	if ((void *)(tcp + 1) > end || !tcp->syn || !tcp->ack)
		return pass(REASON_NOT_VIP);
	seg->seq = bpf_ntohl(tcp->seq);
	seg->ack_seq = bpf_ntohl(tcp->ack_seq);
	seg->flow.client_port = tcp->dest;
	seg->flow.vip_port = tcp->source;
	return on_mirrored(skb, cfg, seg);
}

static __always_inline int from_vip_v4(struct __sk_buff *skb, struct ov_config *cfg,
				       struct iphdr *ip, struct segment *seg, void *end)
{
	if (ip->ihl != 5 || ip->protocol != IPPROTO_TCP ||
	    ip->frag_off & bpf_htons(IP_MF_OR_OFFSET))
		return pass(REASON_NOT_VIP);
	map_v4(&seg->flow.client, ip->daddr);
	map_v4(&seg->flow.vip, ip->saddr);
	return on_from_vip(skb, cfg, seg, (struct tcphdr *)(ip + 1), end);
}

static __always_inline int from_vip_v6(struct __sk_buff *skb, struct ov_config *cfg,
				       struct ipv6hdr *ip, struct segment *seg, void *end)
{
	if (ip->nexthdr != IPPROTO_TCP)
		return pass(REASON_NOT_VIP);
	__builtin_memcpy(&seg->flow.client, &ip->daddr, sizeof(ip->daddr));
	__builtin_memcpy(&seg->flow.vip, &ip->saddr, sizeof(ip->saddr));
	return on_from_vip(skb, cfg, seg, (struct tcphdr *)(ip + 1), end);
}

#endif
