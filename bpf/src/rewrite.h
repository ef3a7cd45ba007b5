/* SPDX-License-Identifier: GPL-2.0 */
/*
 * rewrite.h - turns the packet at hand into another: a reply that goes back out,
 * or a RST that goes up. Nothing is allocated and no packet is sent that a
 * received one did not pay for.
 *
 * A packet whose checksum the sender's device still owed (CHECKSUM_PARTIAL, as
 * on a veth pair) keeps that mark; the checksum we write is right either way.
 */
#ifndef ONEVIP_REWRITE_H
#define ONEVIP_REWRITE_H

#include "parse.h"

#define MAX_REPLY_OPTIONS 20

/* A TCP header with the options that we ever send. */
struct tcp_out {
	struct tcphdr h;
	__be32 options[MAX_REPLY_OPTIONS / 4];
};

static __always_inline __u16 fold(__s64 sum)
{
	__u32 s = sum;

	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return ~s;
}

/* The pseudo header's addresses may be v4-mapped: ::ffff: adds 0xffff, which is
 * nothing in one's complement. Unused options are zero and add nothing. */
static __always_inline void set_tcp_checksum(struct ov_flow *f, struct tcp_out *out, __u32 len)
{
	__s64 sum;

	out->h.check = 0;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)f, 2 * sizeof(union ov_addr), 0);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)out, sizeof(*out), sum);
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + bpf_htons(len) + bpf_htons(IPPROTO_TCP);
	out->h.check = fold(sum);
}

static __always_inline void swap_ethernet(struct ethhdr *eth)
{
	__u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
}

static __always_inline void write_v4(struct iphdr *ip, struct ov_flow *f, __u32 tcp_len, bool back)
{
	ip->tos = 0;
	ip->tot_len = bpf_htons(sizeof(*ip) + tcp_len);
	ip->id = 0;
	ip->frag_off = bpf_htons(IP_DF);
	ip->ttl = 64;
	ip->saddr = back ? f->vip.words[3] : f->client.words[3];
	ip->daddr = back ? f->client.words[3] : f->vip.words[3];
	ip->check = 0;
	ip->check = fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
}

static __always_inline void write_v6(struct ipv6hdr *ip, struct ov_flow *f, __u32 tcp_len, bool back)
{
	ip->priority = 0;
	ip->flow_lbl[0] = ip->flow_lbl[1] = ip->flow_lbl[2] = 0;
	ip->payload_len = bpf_htons(tcp_len);
	ip->hop_limit = 64;
	__builtin_memcpy(&ip->saddr, back ? &f->vip : &f->client, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, back ? &f->client : &f->vip, sizeof(ip->daddr));
}

/*
 * Replaces all from the IP header on by `out`, of which tcp_len bytes count.
 * back: from the VIP to the client, else from the client to the VIP. False if
 * the packet could not be rewritten.
 */
static __noinline bool replace_segment(struct __sk_buff *skb, struct segment *seg,
				       struct tcp_out *out, __u32 tcp_len, bool back)
{
	void *data, *end;

	set_tcp_checksum(&seg->flow, out, tcp_len);
	if (tcp_len < sizeof(out->h) || tcp_len > sizeof(*out))
		return false;
	if (bpf_skb_change_tail(skb, seg->l4 + tcp_len, 0))
		return false;
	if (bpf_skb_pull_data(skb, seg->l4 + tcp_len))
		return false;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (data + L4_OFFSET_V6 > end)
		return false;
	if (back)
		swap_ethernet(data);
	if (seg->v6)
		write_v6(data + L3_OFFSET, &seg->flow, tcp_len, back);
	else
		write_v4(data + L3_OFFSET, &seg->flow, tcp_len, back);
	return bpf_skb_store_bytes(skb, seg->l4, out, tcp_len, BPF_F_RECOMPUTE_CSUM) == 0;
}

static __always_inline void start_tcp(struct tcp_out *out, __be16 from, __be16 to, __u32 tcp_len)
{
	__builtin_memset(out, 0, sizeof(*out));
	out->h.source = from;
	out->h.dest = to;
	out->h.doff = tcp_len / 4;
}

/* Answers the segment with a RST (RFC 9293, 3.10.7.1). */
static __always_inline int reply_rst(struct __sk_buff *skb, struct segment *seg, enum reason reason)
{
	struct tcp_out out;

	start_tcp(&out, seg->flow.vip_port, seg->flow.client_port, sizeof(out.h));
	out.h.rst = 1;
	if (seg->ack) {
		out.h.seq = bpf_htonl(seg->ack_seq);
	} else {
		out.h.ack = 1;
		out.h.ack_seq = bpf_htonl(seg->seq + 1);
	}
	if (!replace_segment(skb, seg, &out, sizeof(out.h), true))
		return drop(REASON_REWRITE_FAILED);
	return reply(skb, reason);
}

/* Turns the segment into a RST from the same client, exactly in sequence, so
 * that our own kernel drops the socket it has for this tuple. */
static __always_inline int raise_rst(struct __sk_buff *skb, struct segment *seg, __u32 rcv_nxt,
				     enum reason reason)
{
	struct tcp_out out;

	start_tcp(&out, seg->flow.client_port, seg->flow.vip_port, sizeof(out.h));
	out.h.rst = 1;
	out.h.seq = bpf_htonl(rcv_nxt);
	if (!replace_segment(skb, seg, &out, sizeof(out.h), false))
		return drop(REASON_REWRITE_FAILED);
	return pass(reason);
}

#endif
