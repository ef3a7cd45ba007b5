/* SPDX-License-Identifier: GPL-2.0 */
/*
 * parse.h - from the frame to its TCP header, or out with a reason.
 *
 * Headers without options have fixed places, so addresses and ports stand in
 * the packet exactly as a socket lookup wants them (struct bpf_sock_tuple).
 */
#ifndef ONEVIP_PARSE_H
#define ONEVIP_PARSE_H

#include "flow.h"
#include "reason.h"

#define L3_OFFSET ((int)sizeof(struct ethhdr))
#define L4_OFFSET_V4 (L3_OFFSET + (int)sizeof(struct iphdr))
#define L4_OFFSET_V6 (L3_OFFSET + (int)sizeof(struct ipv6hdr))
#define MAX_TCP_OPTIONS 40

/* No verdict yet. Verdicts are tcx actions, -1 to 7. */
#define GO_ON (-100)
#define FROM_VIP (-101) /* not for a VIP, but from one: evidence.h wants to see it */

/* What the rest of the program needs of a segment; it stays true when helpers
 * make packet pointers invalid. Numbers in host order. */
struct segment {
	struct ov_flow flow;
	__u32 seq;
	__u32 ack_seq;
	__u32 l4;	   /* offset of the TCP header */
	__u32 options_len; /* bytes, a multiple of 4, at most 40 */
	__u32 payload;	   /* bytes */
	__u64 hash;	   /* of the request's key */
	__u8 v6;
	__u8 syn, ack, rst, fin;
	__u8 ecn_setup; /* SYN with ECE and CWR (RFC 3168) */
	__u8 inspect;	/* SYN: its answer names the inspector, not the owner */
	__u8 handed;	/* sent to us by the inspector that it names */
};

/* Is this one of ours? The inline ones first: they are nearly always all. */
static __always_inline bool is_vip4(struct ov_config *cfg, __be32 addr)
{
	union ov_addr key;

	for (int i = 0; i < INLINE_VIPS; i++) {
		if (i >= cfg->vip4_count)
			break;
		if (cfg->vip4[i] == addr)
			return true;
	}
	if (!cfg->more_vips)
		return false;
	map_v4(&key, addr);
	return bpf_map_lookup_elem(&vips, &key) != NULL;
}

static __always_inline bool is_vip6(struct ov_config *cfg, const struct in6_addr *addr)
{
	union ov_addr key;

	__builtin_memcpy(&key, addr, sizeof(key));
	for (int i = 0; i < INLINE_VIPS; i++) {
		if (i >= cfg->vip6_count)
			break;
		if (cfg->vip6[i].halves[0] == key.halves[0] &&
		    cfg->vip6[i].halves[1] == key.halves[1])
			return true;
	}
	if (!cfg->more_vips)
		return false;
	return bpf_map_lookup_elem(&vips, &key) != NULL;
}

/* Checks an IPv4 header for a VIP; leaves *total at the packet's length without
 * Ethernet padding. */
static __always_inline int parse_v4(struct __sk_buff *skb, struct ov_config *cfg,
				    struct iphdr *ip, void *end, __u32 *total)
{
	if ((void *)(ip + 1) > end || ip->version != 4)
		return pass(REASON_NOT_VIP);
	if (!is_vip4(cfg, ip->daddr))
		return is_vip4(cfg, ip->saddr) ? FROM_VIP : pass(REASON_NOT_VIP);
	if (ip->ihl != 5)
		return drop(ip->ihl < 5 ? REASON_BAD_IP_HEADER : REASON_IP_OPTIONS);
	if (ip->frag_off & bpf_htons(IP_MF_OR_OFFSET))
		return drop(REASON_FRAGMENT);
	if (is_vip4(cfg, ip->saddr))
		return drop(REASON_LAND);
	*total = bpf_ntohs(ip->tot_len);
	if (*total < sizeof(*ip) || *total > skb->len - L3_OFFSET)
		return drop(REASON_BAD_IP_HEADER);
	return GO_ON;
}

static __always_inline int parse_v6(struct __sk_buff *skb, struct ov_config *cfg,
				    struct ipv6hdr *ip, void *end, __u32 *total)
{
	if ((void *)(ip + 1) > end || ip->version != 6)
		return pass(REASON_NOT_VIP);
	if (!is_vip6(cfg, &ip->daddr))
		return is_vip6(cfg, &ip->saddr) ? FROM_VIP : pass(REASON_NOT_VIP);
	if (is_vip6(cfg, &ip->saddr))
		return drop(REASON_LAND);
	*total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (*total > skb->len - L3_OFFSET)
		return drop(REASON_BAD_IP_HEADER);
	return GO_ON;
}

/* RFC 8200's extension headers; hop-by-hop is 0. */
static __always_inline bool is_extension(__u8 nexthdr)
{
	switch (nexthdr) {
	case 0:	  /* hop-by-hop */
	case 43:  /* routing */
	case 44:  /* fragment */
	case 51:  /* authentication */
	case 60:  /* destination */
	case 135: /* mobility */
		return true;
	}
	return false;
}

/* Checks the TCP header, of which l4_len bytes are in the packet. */
static __always_inline int parse_tcp(struct tcphdr *tcp, __u32 l4_len, struct segment *seg)
{
	__u32 header = tcp->doff * 4;

	if (l4_len < sizeof(*tcp))
		return drop(REASON_TRUNCATED);
	if (header < sizeof(*tcp) || header > l4_len)
		return drop(REASON_BAD_TCP_HEADER);
	if (tcp->syn && (tcp->fin || tcp->rst))
		return drop(REASON_BAD_TCP_FLAGS);
	if (!tcp->syn && !tcp->ack && !tcp->rst)
		return drop(REASON_BAD_TCP_FLAGS);
	seg->seq = bpf_ntohl(tcp->seq);
	seg->ack_seq = bpf_ntohl(tcp->ack_seq);
	seg->options_len = header - sizeof(*tcp);
	seg->payload = l4_len - header;
	seg->fin = tcp->fin;
	seg->syn = tcp->syn;
	seg->ack = tcp->ack;
	seg->rst = tcp->rst;
	seg->ecn_setup = tcp->ece && tcp->cwr;
	seg->flow.client_port = tcp->source;
	seg->flow.vip_port = tcp->dest;
	return GO_ON;
}

#define NO_WSCALE 15
#define MAX_WSCALE 14 /* RFC 7323, 2.3 */

struct option_walk {
	__u8 bytes[64]; /* the options, zeros behind them */
	struct options out;
	__u32 at;
	__u32 len;
	__u32 bad;
};

static __always_inline __u8 option_byte(struct option_walk *w, __u32 at)
{
	return w->bytes[at & 63];
}

static __always_inline __u32 option_word(struct option_walk *w, __u32 at)
{
	return (__u32)option_byte(w, at) << 24 | (__u32)option_byte(w, at + 1) << 16 |
	       (__u32)option_byte(w, at + 2) << 8 | option_byte(w, at + 3);
}

static __always_inline __u8 clamp_wscale(__u8 shift)
{
	return shift > MAX_WSCALE ? MAX_WSCALE : shift;
}

/* One option a call; 1 ends the walk. An option that is too short for its kind
 * is skipped, as the kernel does. */
static long next_option(__u32 i, struct option_walk *w)
{
	__u32 kind, len;

	if (w->at >= w->len)
		return 1;
	kind = option_byte(w, w->at);
	if (kind == 0)
		return 1;
	if (kind == 1) {
		w->at++;
		return 0;
	}
	len = w->at + 1 < w->len ? option_byte(w, w->at + 1) : 0;
	if (len < 2 || w->at + len > w->len) {
		w->bad = 1;
		return 1;
	}
	if (kind == 2 && len == 4) {
		w->out.mss = option_word(w, w->at) & 0xffff;
	} else if (kind == 3 && len == 3) {
		w->out.wscale = clamp_wscale(option_byte(w, w->at + 2));
	} else if (kind == 4 && len == 2) {
		w->out.sack = 1;
	} else if (kind == 8 && len == 10) {
		w->out.timestamps = 1;
		w->out.tsval = option_word(w, w->at + 2);
		w->out.tsecr = option_word(w, w->at + 6);
	}
	w->at += len;
	return 0;
}

/* Any options; false if they are malformed. Not static: the verifier then looks at
 * it once, not once for each way that leads here, which were most of its work. */
__noinline bool walk_options(struct __sk_buff *skb, struct segment *seg,
				    struct options *out)
{
	struct option_walk w = { .out.wscale = NO_WSCALE };
	__u32 len;

	if (!seg || !out)
		return false;
	len = seg->options_len;
	if (len > 0 && len <= MAX_TCP_OPTIONS) {
		if (bpf_skb_load_bytes(skb, seg->l4 + sizeof(struct tcphdr), w.bytes, len))
			return false;
		w.len = len;
		bpf_loop(MAX_TCP_OPTIONS, next_option, &w, 0);
	}
	*out = w.out;
	return !w.bad;
}

/*
 * Reads all options of the segment; false if they are malformed. Nearly all
 * segments have them where Linux puts them (net/ipv4/tcp_output.c): those need
 * no walk.
 */
static __always_inline bool parse_options(struct __sk_buff *skb, struct segment *seg,
					  struct options *out)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__be32 *word = data + (seg->v6 ? L4_OFFSET_V6 : L4_OFFSET_V4) + sizeof(struct tcphdr);

	if (seg->options_len == 12 && (void *)(word + 3) <= end &&
	    word[0] == bpf_htonl(0x0101080a)) {
		*out = (struct options){ .timestamps = 1, .wscale = NO_WSCALE };
		out->tsval = bpf_ntohl(word[1]);
		out->tsecr = bpf_ntohl(word[2]);
		return true;
	}
	if (seg->options_len == 20 && (void *)(word + 5) <= end &&
	    word[1] == bpf_htonl(0x0402080a) && bpf_ntohl(word[0]) >> 16 == 0x0204 &&
	    bpf_ntohl(word[4]) >> 8 == 0x010303) {
		*out = (struct options){ .timestamps = 1, .sack = 1 };
		out->mss = bpf_ntohl(word[0]);
		out->tsval = bpf_ntohl(word[2]);
		out->tsecr = bpf_ntohl(word[3]);
		out->wscale = clamp_wscale(bpf_ntohl(word[4]));
		return true;
	}
	return walk_options(skb, seg, out);
}

#endif
