/* SPDX-License-Identifier: GPL-2.0 */
/*
 * icmp.h - ICMP and ICMPv6 to a VIP. An error goes up where the socket of the
 * segment that it quotes is, or a path's MTU would stay unknown (RFC 1191, RFC
 * 8201); an echo is answered by the primary of its slot, so by one node.
 */
#ifndef ONEVIP_ICMP_H
#define ONEVIP_ICMP_H

#include "parse.h"

static __always_inline int echo(struct ov_config *cfg, struct ov_flow *flow)
{
	if (primary_of(flow) != cfg->self)
		return drop(REASON_FOREIGN_ICMP);
	return pass(REASON_ECHO);
}

/* Passes the error up if the quoted segment is one that a socket of ours sent. */
static __always_inline int quoted(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size)
{
	struct bpf_sock *sk = bpf_skc_lookup_tcp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0);
	__u32 state;

	if (!sk)
		return drop(REASON_FOREIGN_ICMP);
	state = sk->state;
	bpf_sk_release(sk);
	return state == TCP_LISTEN ? drop(REASON_FOREIGN_ICMP) : pass(REASON_OWN_ICMP_ERROR);
}

/* `len` is the message's, without Ethernet padding. */
static __noinline int icmp_v4(struct __sk_buff *skb, struct ov_config *cfg, struct ov_flow *flow,
			      __u32 len)
{
	struct bpf_sock_tuple tuple = {};
	struct {
		struct icmphdr icmp;
		struct iphdr ip;
		__be16 sport, dport;
	} h;

	if (len < sizeof(h.icmp) || bpf_skb_load_bytes(skb, L4_OFFSET_V4, &h.icmp, sizeof(h.icmp)))
		return drop(REASON_TRUNCATED);
	if (h.icmp.type == 8)
		return echo(cfg, flow);
	if (h.icmp.type != 3 && h.icmp.type != 11 && h.icmp.type != 12)
		return drop(REASON_ICMP_OTHER);
	if (len < sizeof(h) || bpf_skb_load_bytes(skb, L4_OFFSET_V4, &h, sizeof(h)))
		return drop(REASON_TRUNCATED);
	if (h.ip.version != 4 || h.ip.ihl != 5 || h.ip.protocol != IPPROTO_TCP)
		return drop(REASON_ICMP_OTHER);
	tuple.ipv4.saddr = h.ip.daddr;
	tuple.ipv4.daddr = h.ip.saddr;
	tuple.ipv4.sport = h.dport;
	tuple.ipv4.dport = h.sport;
	return quoted(skb, &tuple, sizeof(tuple.ipv4));
}

static __noinline int icmp_v6(struct __sk_buff *skb, struct ov_config *cfg, struct ov_flow *flow,
			      __u32 len)
{
	struct bpf_sock_tuple tuple = {};
	struct {
		struct icmphdr icmp;
		struct ipv6hdr ip;
		__be16 sport, dport;
	} h;

	if (len < sizeof(h.icmp) || bpf_skb_load_bytes(skb, L4_OFFSET_V6, &h.icmp, sizeof(h.icmp)))
		return drop(REASON_TRUNCATED);
	if (h.icmp.type == 128)
		return echo(cfg, flow);
	if (h.icmp.type >= 133 && h.icmp.type <= 137)
		return drop(REASON_NEIGHBOR);
	if (h.icmp.type < 1 || h.icmp.type > 4)
		return drop(REASON_ICMP_OTHER);
	if (len < sizeof(h) || bpf_skb_load_bytes(skb, L4_OFFSET_V6, &h, sizeof(h)))
		return drop(REASON_TRUNCATED);
	if (h.ip.version != 6 || h.ip.nexthdr != IPPROTO_TCP)
		return drop(REASON_ICMP_OTHER);
	__builtin_memcpy(tuple.ipv6.saddr, &h.ip.daddr, sizeof(h.ip.daddr));
	__builtin_memcpy(tuple.ipv6.daddr, &h.ip.saddr, sizeof(h.ip.saddr));
	tuple.ipv6.sport = h.dport;
	tuple.ipv6.dport = h.sport;
	return quoted(skb, &tuple, sizeof(tuple.ipv6));
}

#endif
