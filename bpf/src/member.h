/* SPDX-License-Identifier: GPL-2.0 */
/*
 * member.h - frames that the nodes send to each other about a client's connection.
 * The switch lets a member's source address in at that member's port only, and
 * delivers by destination: none comes from a client, none to a third.
 */
#ifndef ONEVIP_MEMBER_H
#define ONEVIP_MEMBER_H

#include "cookie.h"

/* From the end: members' addresses begin alike. */
static __always_inline bool is_mac(const void *a, const void *b)
{
	const __be16 *x = a, *y = b;

	return x[2] == y[2] && x[1] == y[1] && x[0] == y[0];
}

static __always_inline struct ov_member *find_member(__u32 node)
{
	struct ov_member *m = bpf_map_lookup_elem(&members, &node);

	return m && m->known ? m : NULL;
}

static __always_inline bool is_from(struct __sk_buff *skb, __u32 node)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ov_member *m = find_member(node);
	struct ethhdr *eth = data;

	return m && (void *)(eth + 1) <= end && is_mac(m->mac, eth->h_source);
}

/* Did the inspector whom the client's segment names send it to us? */
static __always_inline bool is_handed(struct __sk_buff *skb, struct ov_config *cfg,
				      struct segment *seg)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 inspector = cookie_owner(seg->ack_seq - 1);
	struct ethhdr *eth = data;

	if (!cfg->inspects || !seg->ack || seg->rst || inspector == cfg->self ||
	    !is_from(skb, inspector))
		return false;
	return (void *)(eth + 1) <= end && is_mac(cfg->mac, eth->h_dest);
}

/*
 * In the urgent pointer of a connection's first segment, where no URG asks anybody to read
 * it: for which id it is, since the address may be another's by now, of the same machine;
 * and what a SYN without timestamps offered, which the node may have missed. What follows
 * has nothing there.
 *
 *   1 | 1 if options follow | id (8) | ECN, SACK, window scale (6)
 */
#define CARRIED_MARK 0x8000
#define CARRIED_OPTIONS 0x4000
#define CARRIED_ID(id) (((id) & 0xff) << 6)

/* From the flags on. */
struct tcp_rest {
	__u8 offset, flags;
	__be16 window;
	__sum16 check;
	__be16 urgent;
};

#define FLAG_URG 0x20

/* Where the rest is; false if the segment says that something is urgent. */
static __always_inline bool can_carry(struct __sk_buff *skb, struct segment *seg,
				      struct tcp_rest *rest)
{
	return !bpf_skb_load_bytes(skb, seg->l4 + 12, rest, sizeof(*rest)) &&
	       !(rest->flags & FLAG_URG);
}

/* What that is of a client's options; 0: its timestamps say it. */
static __always_inline __u32 carried_options(const struct segment *seg)
{
	struct ov_syn_key key = { .flow = seg->flow, .isn = seg->seq - 1 };
	struct ov_options *o;

	if (seg->options_len >= 10)
		return 0;
	o = bpf_map_lookup_elem(&syn_records, &key);
	return o ? CARRIED_OPTIONS | option_bits(o) : 0;
}

/* What we keep is for no id: the guard that is told needs the options only. */
static __noinline void carry(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
			     __u32 owner)
{
	__u32 bits = carried_options(seg);
	struct tcp_rest rest;
	__be16 urgent;

	if (owner != cfg->self)
		bits |= CARRIED_ID(owner);
	if (!bits || !can_carry(skb, seg, &rest))
		return;
	urgent = bpf_htons(CARRIED_MARK | bits);
	if (bpf_skb_store_bytes(skb, seg->l4 + 18, &urgent, sizeof(urgent), 0))
		return;
	bpf_l4_csum_replace(skb, seg->l4 + 16, rest.urgent, urgent, sizeof(urgent));
}

/* The other side: is it for the id that we have? */
static __always_inline bool is_for_us(struct __sk_buff *skb, struct ov_config *cfg,
				      struct segment *seg)
{
	struct tcp_rest rest;

	return can_carry(skb, seg, &rest) &&
	       (bpf_ntohs(rest.urgent) & (CARRIED_MARK | CARRIED_ID(0xff))) ==
		       (CARRIED_MARK | CARRIED_ID(cfg->self));
}

/* Makes the record that the SYN would have left. Not static: see walk_options. */
__noinline int take_options(struct __sk_buff *skb, struct segment *seg)
{
	struct ov_syn_key key = {};
	struct ov_options o = {};
	struct tcp_rest rest;
	__u32 bits;

	if (!seg || !can_carry(skb, seg, &rest))
		return 0;
	bits = bpf_ntohs(rest.urgent);
	if (!(bits & CARRIED_MARK) || !(bits & CARRIED_OPTIONS))
		return 0;
	key.flow = seg->flow;
	key.isn = seg->seq - 1;
	set_option_bits(&o, bits);
	o.mss_index = (seg->ack_seq - 1) >> 21 & 7;
	return bpf_map_update_elem(&syn_records, &key, &o, BPF_NOEXIST);
}

/* The Ethernet addresses of a frame. */
struct addresses {
	__u8 dest[ETH_ALEN], source[ETH_ALEN];
};

/* From us to the member: for the frame at hand. */
static __always_inline bool address_to(struct __sk_buff *skb, struct ov_config *cfg,
				       struct ov_member *m)
{
	struct addresses a;

	__builtin_memcpy(a.dest, m->mac, ETH_ALEN);
	__builtin_memcpy(a.source, cfg->mac, ETH_ALEN);
	return !bpf_skb_store_bytes(skb, 0, &a, sizeof(a), 0);
}

#endif
