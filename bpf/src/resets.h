/* SPDX-License-Identifier: GPL-2.0 */
/*
 * resets.h - did this kernel reset a connection that it never had? Then a packet was
 * passed up that should not have been (I5), and another node's client paid for it.
 */
#ifndef ONEVIP_RESETS_H
#define ONEVIP_RESETS_H

#include "sockets.h"

#define LO_INDEX 1 /* in every network namespace */

/* A packet that got as far as a socket has lost its device. */
static __always_inline bool is_of_our_net(const struct sock *sk, const struct sk_buff *skb)
{
	struct net *net = sk ? BPF_CORE_READ(sk, __sk_common.skc_net.net)
			     : BPF_CORE_READ(skb, dev, nd_net.net);

	return net && BPF_CORE_READ(net, net_cookie) == netns_cookie;
}

/* The flow of a packet that came in. */
static __always_inline bool flow_of_packet(const struct sk_buff *skb, struct ov_flow *f)
{
	unsigned char *head = BPF_CORE_READ(skb, head);
	void *l3 = head + BPF_CORE_READ(skb, network_header);
	void *l4 = head + BPF_CORE_READ(skb, transport_header);
	struct ipv6hdr ip6;
	struct iphdr ip;

	__builtin_memset(f, 0, sizeof(*f));
	if (bpf_probe_read_kernel(&f->client_port, 2 * sizeof(__be16), l4))
		return false;
	if (bpf_probe_read_kernel(&ip, sizeof(ip), l3))
		return false;
	if (ip.version == 4) {
		map_v4(&f->client, ip.saddr);
		map_v4(&f->vip, ip.daddr);
		return true;
	}
	if (bpf_probe_read_kernel(&ip6, sizeof(ip6), l3))
		return false;
	__builtin_memcpy(&f->client, &ip6.saddr, sizeof(f->client));
	__builtin_memcpy(&f->vip, &ip6.daddr, sizeof(f->vip));
	return true;
}

static __always_inline void stray_reset(const struct sk_buff *skb, const struct ov_flow *f)
{
	struct ov_tally *t = violated(VIOLATION_STRAY_RST, f);
	struct tcphdr h;

	if (!t)
		return;
	t->interface = BPF_CORE_READ(skb, skb_iif);
	if (bpf_probe_read_kernel(&h, sizeof(h), BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header)))
		return;
	t->seq = bpf_ntohl(h.seq);
	t->ack_seq = bpf_ntohl(h.ack_seq);
	t->flags = h.ack << 4 | h.psh << 3 | h.syn << 1 | h.fin;
}

/* The kernel answers skb with a RST; without skb it ends a connection of its own. A
 * tombstone says that the client's connection was here. What comes over lo is the
 * node's own, and passes no filter. */
static __always_inline void on_reset(const struct sock *sk, const struct sk_buff *skb)
{
	struct ov_flow flow;

	if (!skb || (sk && sk->__sk_common.skc_state != TCP_LISTEN))
		return;
	if (!is_of_our_net(sk, skb) || BPF_CORE_READ(skb, skb_iif) == LO_INDEX)
		return;
	if (!flow_of_packet(skb, &flow) || !service_of(&flow) || bpf_map_lookup_elem(&tombstones, &flow))
		return;
	stray_reset(skb, &flow);
}

#endif
