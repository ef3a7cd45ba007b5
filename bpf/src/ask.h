/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ask.h - questions between nodes, answered here so that a node whose agent is
 * down answers too: is this node alive, has its kernel a socket for a flow?
 * docs/formats/ask.md. Answers go up, to the packet socket of the agent that asked.
 */
#ifndef ONEVIP_ASK_H
#define ONEVIP_ASK_H

#include "parse.h"
#include "siphash.h"

#define ETH_P_ONEVIP 0x88b5 /* IEEE 802, local experimental 1: heartbeats too */
#define ASK_MAGIC bpf_htonl(0x3141534b) /* "1ASK" */
#define ASK_VERSION 1

enum ask_kind {
	ASK_ALIVE = 1,
	ASK_WHO_HAS = 2,
};

#define ASK_ANSWER 1
#define ASK_YES 2

struct ask {
	__be32 magic;
	__u8 version;
	__u8 kind; /* enum ask_kind */
	__u8 flags;
	__u8 asked; /* the id of the node that shall answer */
	__u64 nonce;
	union ov_addr client; /* zero in a question about the node itself */
	union ov_addr vip;
	__be16 client_port;
	__be16 vip_port;
	__be32 epoch; /* of the key */
	__u64 mac;    /* over all before */
};

/* The frame on the stack: words begin where those of the packet do not. */
struct ask_frame {
	__u16 pad;
	__u8 dest[ETH_ALEN], source[ETH_ALEN];
	__be16 proto;
	struct ask ask;
};

_Static_assert(sizeof(struct ask) == 64, "docs/formats/ask.md");
_Static_assert(sizeof(struct ask_frame) == 80, "two bytes before the frame");

/* A cookie's MAC covers 24 or 48 bytes, this one 56: neither passes for the other. */
static __noinline __u64 ask_mac(struct ov_key *key, struct ask *a)
{
	__u64 *word = (__u64 *)a;
	struct sip s;

	sip_start(&s, key->k0, key->k1);
	for (int i = 0; i < 7; i++)
		sip_word(&s, word[i]);
	return sip_end(&s, 0, 56);
}

/* The server has closed, and the client has not: of such a socket the kernel keeps what
 * it keeps of one in TIME_WAIT. */
static __always_inline bool is_half_closed(struct bpf_sock *sk)
{
	struct tcp_timewait_sock *tw = bpf_skc_to_tcp_timewait_sock(sk);

	return tw && BPF_CORE_READ(tw, tw_sk.tw_substate) == TCP_FIN_WAIT2;
}

/* Does this kernel have a socket for the flow that could answer its client?
 * Neither a listener nor TIME_WAIT can. */
static __noinline bool has_socket(struct __sk_buff *skb, struct ask *a)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size = sizeof(tuple.ipv6);
	struct bpf_sock *sk;
	bool has;

	if (is_v4(&a->client)) {
		size = sizeof(tuple.ipv4);
		tuple.ipv4.saddr = a->client.words[3];
		tuple.ipv4.daddr = a->vip.words[3];
		tuple.ipv4.sport = a->client_port;
		tuple.ipv4.dport = a->vip_port;
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &a->client, sizeof(a->client));
		__builtin_memcpy(tuple.ipv6.daddr, &a->vip, sizeof(a->vip));
		tuple.ipv6.sport = a->client_port;
		tuple.ipv6.dport = a->vip_port;
	}
	sk = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	has = sk->state == TCP_TIME_WAIT ? is_half_closed(sk) : sk->state != TCP_LISTEN;
	bpf_sk_release(sk);
	return has;
}

/* The key that the question names, or NULL; three epochs are in force. */
static __always_inline struct ov_key *ask_key(struct ov_config *cfg, struct ask *a)
{
	__u32 epoch = bpf_ntohl(a->epoch);
	struct ov_key *key = &cfg->keys[epoch & 3];

	return key->valid && key->epoch == epoch ? key : NULL;
}

/* Sends it back to where it came from, whoever that is: it learns no more than
 * the one bit that a holder of the key asked for. */
static __always_inline int send_answer(struct __sk_buff *skb, struct ask_frame *f)
{
	__u8 source[ETH_ALEN];

	__builtin_memcpy(source, f->dest, ETH_ALEN);
	__builtin_memcpy(f->dest, f->source, ETH_ALEN);
	__builtin_memcpy(f->source, source, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, f->dest, sizeof(*f) - sizeof(f->pad), 0))
		return drop(REASON_REWRITE_FAILED);
	return reply(skb, REASON_ASKED);
}

/* Not static: the verifier looks at it once. */
__noinline int on_ask(struct __sk_buff *skb, struct ov_config *cfg)
{
	struct ask_frame f = {};
	struct ov_key *key;

	if (!cfg)
		return TCX_NEXT;
	if (bpf_skb_load_bytes(skb, 0, f.dest, sizeof(f) - sizeof(f.pad)))
		return pass(REASON_NOT_VIP); /* shorter than a question: a heartbeat may be */
	if (f.ask.magic != ASK_MAGIC || f.ask.version != ASK_VERSION || f.ask.flags & ASK_ANSWER)
		return pass(REASON_NOT_VIP);
	if (!cfg->self || f.ask.asked != cfg->self)
		return drop(REASON_ASK_OTHER);
	key = ask_key(cfg, &f.ask);
	if (!key || ask_mac(key, &f.ask) != f.ask.mac)
		return drop(REASON_ASK_FORGED);
	f.ask.flags = ASK_ANSWER;
	if (f.ask.kind == ASK_ALIVE || (f.ask.kind == ASK_WHO_HAS && has_socket(skb, &f.ask)))
		f.ask.flags |= ASK_YES;
	f.ask.mac = ask_mac(key, &f.ask);
	return send_answer(skb, &f);
}

#endif
