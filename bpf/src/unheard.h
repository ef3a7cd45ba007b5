/* SPDX-License-Identifier: GPL-2.0 */
/*
 * unheard.h - SYN/ACKs that named us and have led to no socket yet. Nobody holds a
 * half-open connection that would send them again, and the client that got one
 * may wait for our first word, its bare ACK lost: so the agent sends them again
 * (unheard.go).
 *
 * An entry must go as soon as anything shows that its handshake is not to be: a
 * SYN/ACK that meets a client in a new handshake of the same tuple makes it reset
 * that one.
 *
 * An inspector's stay until their clients speak (silence.h).
 */
#ifndef ONEVIP_UNHEARD_H
#define ONEVIP_UNHEARD_H

#include "rewrite.h"
#include "cookie.h"

/* No window reaches further than this (RFC 7323, 2.3). */
#define MAX_WINDOW (1U << 30)

#define UNHEARD_FOR (8 * NSEC_PER_SEC) /* the last is sent after 7 s, or 2 s after the first */

/* A client's place in `clients`, and the low 16 bits of what stands there. */
static __always_inline __u64 *client_place(const union ov_addr *client, __u32 *tag)
{
	__u64 h = client->halves[0] * 0xff51afd7ed558ccdULL ^ client->halves[1];
	__u32 bucket;

	h *= 0x9e3779b97f4a7c15ULL;
	bucket = h >> (64 - CLIENT_BITS);
	*tag = h >> 32 & 0xffff;
	return bpf_map_lookup_elem(&clients, &bucket);
}

/* The client's SYN tells where it is: mirrored SYN/ACKs have lost that address. */
static __always_inline void note_client(struct __sk_buff *skb, const union ov_addr *client)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ether_out *eth = data;
	__u64 *place, now;
	__u32 tag;

	if ((void *)(eth + 1) > end)
		return;
	place = client_place(client, &tag);
	now = (__u64)eth->source[0] << 16 | (__u64)eth->source[1] << 32 |
	      (__u64)eth->source[2] << 48 | tag;
	if (place && *place != now)
		*place = now;
}

/* Where frames for the client go, or for another client whose place it is: most come by
 * one gateway. False if no SYN of either was seen here. */
static __always_inline bool guess_client(const union ov_addr *client, __be16 *mac, bool *is_other)
{
	__u32 tag;
	__u64 *place = client_place(client, &tag), word;

	if (!place)
		return false;
	word = *place;
	mac[0] = word >> 16;
	mac[1] = word >> 32;
	mac[2] = word >> 48;
	*is_other = (word & 0xffff) != tag;
	return word >> 16;
}

/* False if its SYN was not seen here. */
static __always_inline bool find_client(const union ov_addr *client, __be16 *mac)
{
	bool is_other;

	return guess_client(client, mac, &is_other) && !is_other;
}

static __always_inline struct ov_unheard *draft_unheard(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&drafts, &zero);
}

/* The first SYN/ACK of a handshake counts. */
static __always_inline bool is_kept(struct ov_flow *f, __u32 isn)
{
	struct ov_unheard *u = bpf_map_lookup_elem(&unheard, f);

	return u && u->isn == isn;
}

static __always_inline void trace_unheard(struct ov_flow *f, const struct ov_unheard *u)
{
	struct ov_trace *trace = trace_of(f);

	if (trace)
		trace->unheard = ticks_from_now(UNHEARD_FOR + u->silent * NSEC_PER_MSEC);
}

/* In the place of one of an older handshake, if there is one. */
static __always_inline bool keep_draft(struct ov_flow *f, struct ov_unheard *draft)
{
	draft->at = bpf_ktime_get_ns();
	trace_unheard(f, draft);
	if (!bpf_map_update_elem(&unheard, f, draft, BPF_ANY))
		return true;
	count(REASON_UNHEARD_FULL);
	return false;
}

/* The frame in `out`, which has all its headers; gives its length. */
static __noinline __u32 copy_frame(const struct packet_out *out, bool v6, __u8 *to)
{
	if (v6) {
		__builtin_memcpy(to, &out->eth6, L4_OFFSET_V6 + sizeof(out->h) + MAX_REPLY_OPTIONS);
		return L4_OFFSET_V6 + out->h.doff * 4;
	}
	__builtin_memcpy(to, &out->eth4, L4_OFFSET_V4 + sizeof(out->h) + MAX_REPLY_OPTIONS);
	return L4_OFFSET_V4 + out->h.doff * 4;
}

/* Milliseconds that its clients may say nothing. */
static __noinline __u32 silence_of(const struct ov_flow *f)
{
	struct ov_service *svc = service_of(f);
	struct ov_rules *rule = svc ? rules_of(svc) : NULL;

	return rule ? rule->silent / NSEC_PER_MSEC : 0;
}

/* A SYN may be spoofed. Of those that we answer as inspectors few are kept, or a flood of
 * them would leave no room for the clients who are connected. */
#define INSPECTED_A_SECOND 1024

/* Our own SYN/ACK names us: no mirror shows it to us. */
static __noinline void keep_answer(struct segment *syn, const struct packet_out *out)
{
	struct ov_unheard *draft = draft_unheard();

	if (!draft || is_kept(&syn->flow, syn->seq) ||
	    (syn->inspect && !take_turn(PACE_INSPECTED, INSPECTED_A_SECOND)))
		return;
	draft->isn = syn->seq;
	draft->answer = bpf_ntohl(out->h.seq);
	draft->silent = syn->inspect ? silence_of(&syn->flow) : 0;
	draft->connected = 0;
	draft->len = copy_frame(out, syn->v6, draft->frame);
	keep_draft(&syn->flow, draft);
}

/* Another's SYN/ACK names us. Its Ethernet addresses are the switch's business. */
static __noinline void keep_mirrored(struct __sk_buff *skb, struct ov_config *cfg,
				    struct segment *seg)
{
	struct ov_unheard *draft = draft_unheard();
	struct ether_out *eth;
	__u32 len = skb->len;
	__be16 client[3];

	if (!draft || is_kept(&seg->flow, seg->ack_seq - 1) ||
	    !find_client(&seg->flow.client, client))
		return;
	if (len < sizeof(*eth))
		return;
	barrier_var(len); /* two comparisons: of one that does for both, the verifier learns nothing */
	if (len > FRAME_SIZE)
		return;
	if (bpf_skb_load_bytes(skb, 0, draft->frame, len))
		return;
	eth = (struct ether_out *)draft->frame;
	__builtin_memcpy(eth->source, cfg->mac, ETH_ALEN);
	__builtin_memcpy(eth->dest, client, ETH_ALEN);
	draft->isn = seg->ack_seq - 1;
	draft->answer = seg->seq;
	draft->silent = 0;
	draft->connected = 0;
	draft->len = len;
	keep_draft(&seg->flow, draft);
}

static __noinline void forget_unheard(struct ov_flow *f)
{
	bpf_map_delete_elem(&unheard, f);
}

/* A SYN, or a SYN/ACK to one: another handshake of this tuple is over. */
static __noinline void forget_older(struct ov_flow *f, __u32 isn)
{
	struct ov_unheard *u = bpf_map_lookup_elem(&unheard, f);

	if (u && u->isn != isn)
		forget_unheard(f);
}

/* A segment of the client, for which there is no socket: has it chosen another
 * owner, or given up? */
static __noinline void forget_lost(struct segment *seg)
{
	struct ov_unheard *u = bpf_map_lookup_elem(&unheard, &seg->flow);
	__u32 at;

	if (!u)
		return;
	at = seg->seq - 1 - u->isn;
	if (seg->rst ? at == 0 : seg->ack_seq - 1 != u->answer && at < MAX_WINDOW)
		forget_unheard(&seg->flow);
}

#endif
