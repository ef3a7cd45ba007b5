/* SPDX-License-Identifier: GPL-2.0 */
/*
 * rewrite.h - turns the packet at hand into another: a reply that goes back out,
 * or a RST that goes up. Nothing is allocated and no packet is sent that a
 * received one did not pay for.
 *
 * The new packet is made on the stack and stored in one go. Writing through packet
 * pointers would be no shorter, and would have the kernel make a private copy of
 * every packet that it shares, as those of a flood, before the program even looks
 * at it, the foreign ones too.
 *
 * A packet whose checksum the sender's device still owed (CHECKSUM_PARTIAL, as
 * on a veth pair) keeps that mark; the checksum we write is right either way.
 */
#ifndef ONEVIP_REWRITE_H
#define ONEVIP_REWRITE_H

#include "parse.h"

#define MAX_REPLY_OPTIONS 20

/* struct ethhdr in halves, which have its alignment. */
struct ether_out {
	__be16 dest[ETH_ALEN / 2], source[ETH_ALEN / 2], proto;
};

/* A packet with the TCP options that we ever send. The IP header ends where the
 * TCP header begins, whichever it is. */
struct packet_out {
	union {
		struct {
			__be16 pad4[11];
			struct ether_out eth4;
			struct iphdr v4;
		};
		struct {
			__be16 pad6[1];
			struct ether_out eth6;
			struct ipv6hdr v6;
		};
	};
	struct tcphdr h;
	__be32 options[MAX_REPLY_OPTIONS / 4];
};

/* One's complement sum of whole words. */
static __always_inline __u64 add_words(__u64 sum, const void *from, int bytes)
{
	const __u32 *word = from;

#pragma unroll
	for (int i = 0; i < bytes / 4; i++)
		sum += word[i];
	return sum;
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

/* The pseudo header's addresses may be v4-mapped: ::ffff: adds 0xffff, which is
 * nothing in one's complement. Unused options are zero and add nothing. */
static __always_inline void set_tcp_checksum(struct ov_flow *f, struct packet_out *out, __u32 len)
{
	__u64 sum = bpf_htons(len) + bpf_htons(IPPROTO_TCP);

	sum = add_words(sum, f, 2 * sizeof(union ov_addr));
	sum = add_words(sum, &out->h, sizeof(out->h) + sizeof(out->options));
	out->h.check = fold(sum);
}

/* `back`: from the VIP to the client, with the MACs swapped too; else as it came. */
static __always_inline void write_ethernet(const struct ether_out *was, struct ether_out *out,
					   bool back)
{
	__builtin_memcpy(out->dest, back ? was->source : was->dest, ETH_ALEN);
	__builtin_memcpy(out->source, back ? was->dest : was->source, ETH_ALEN);
	out->proto = was->proto;
}

static __always_inline void write_v4(struct iphdr *ip, struct ov_flow *f, __u32 tcp_len, bool back)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = bpf_htons(sizeof(*ip) + tcp_len);
	ip->frag_off = bpf_htons(IP_DF);
	ip->ttl = 64;
	ip->protocol = IPPROTO_TCP;
	ip->saddr = back ? f->vip.words[3] : f->client.words[3];
	ip->daddr = back ? f->client.words[3] : f->vip.words[3];
	ip->check = fold(add_words(0, ip, sizeof(*ip)));
}

static __always_inline void write_v6(struct ipv6hdr *ip, struct ov_flow *f, __u32 tcp_len, bool back)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->payload_len = bpf_htons(tcp_len);
	ip->nexthdr = IPPROTO_TCP;
	ip->hop_limit = 64;
	__builtin_memcpy(&ip->saddr, back ? &f->vip : &f->client, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, back ? &f->client : &f->vip, sizeof(ip->daddr));
}

/* Writes all that stands in front of the TCP header, and the checksums. `was` is the
 * Ethernet header of the packet that `out` takes the place of. */
static __always_inline void write_headers(const struct ether_out *was, struct segment *seg,
					  struct packet_out *out, __u32 tcp_len, bool back)
{
	set_tcp_checksum(&seg->flow, out, tcp_len);
	if (seg->v6) {
		write_ethernet(was, &out->eth6, back);
		write_v6(&out->v6, &seg->flow, tcp_len, back);
	} else {
		write_ethernet(was, &out->eth4, back);
		write_v4(&out->v4, &seg->flow, tcp_len, back);
	}
}

/*
 * Replaces the packet by `out`, of whose TCP header and options tcp_len bytes
 * count. False if it could not be rewritten. CHECKSUM_COMPLETE leaves out the
 * Ethernet header, but swapped MACs have the same sum.
 */
static __noinline bool replace_packet(struct __sk_buff *skb, struct segment *seg,
				      struct packet_out *out, __u32 tcp_len, bool back)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (tcp_len < sizeof(out->h) || tcp_len > sizeof(out->h) + sizeof(out->options))
		return false;
	if (data + sizeof(struct ether_out) > end)
		return false;
	write_headers(data, seg, out, tcp_len, back);
	if (skb->len != seg->l4 + tcp_len && bpf_skb_change_tail(skb, seg->l4 + tcp_len, 0))
		return false;
	if (seg->v6)
		return !bpf_skb_store_bytes(skb, 0, &out->eth6, L4_OFFSET_V6 + tcp_len,
					    BPF_F_RECOMPUTE_CSUM);
	return !bpf_skb_store_bytes(skb, 0, &out->eth4, L4_OFFSET_V4 + tcp_len,
				    BPF_F_RECOMPUTE_CSUM);
}

static __always_inline void start_tcp(struct packet_out *out, __be16 from, __be16 to, __u32 tcp_len)
{
	__builtin_memset(&out->h, 0, sizeof(out->h) + sizeof(out->options));
	out->h.source = from;
	out->h.dest = to;
	out->h.doff = tcp_len / 4;
}

/* Answers the segment with a RST (RFC 9293, 3.10.7.1). */
static __noinline int reply_rst(struct __sk_buff *skb, struct segment *seg, enum reason reason)
{
	struct packet_out out;

	start_tcp(&out, seg->flow.vip_port, seg->flow.client_port, sizeof(out.h));
	out.h.rst = 1;
	if (seg->ack) {
		out.h.seq = bpf_htonl(seg->ack_seq);
	} else {
		out.h.ack = 1;
		out.h.ack_seq = bpf_htonl(seg->seq + 1);
	}
	if (!replace_packet(skb, seg, &out, sizeof(out.h), true))
		return drop(REASON_REWRITE_FAILED);
	return reply(skb, reason);
}

/* Turns the segment into a RST from the same client, exactly in sequence, so
 * that our own kernel drops the socket it has for this tuple. */
static __always_inline int raise_rst(struct __sk_buff *skb, struct segment *seg, __u32 rcv_nxt,
				     enum reason reason)
{
	struct packet_out out;

	start_tcp(&out, seg->flow.client_port, seg->flow.vip_port, sizeof(out.h));
	out.h.rst = 1;
	out.h.seq = bpf_htonl(rcv_nxt);
	if (!replace_packet(skb, seg, &out, sizeof(out.h), false))
		return drop(REASON_REWRITE_FAILED);
	return pass(reason);
}

#endif
