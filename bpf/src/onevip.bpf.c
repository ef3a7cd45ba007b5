// SPDX-License-Identifier: GPL-2.0
/*
 * onevip.bpf.c - the packet's way through a node: the table of contents.
 *
 *   parse    what is it?             parse.h
 *   SYN      is it ours to answer?   speculate.h: awaiting.h waits for another
 *            yes                     answer.h: schedule.h names an owner,
 *                                    cookie.h seals it, rewrite.h sends it
 *   SYN/ACK  of another member       evidence.h: a SYN is answered
 *            names us                unheard.h: until the client is heard
 *   segment  a socket of ours?       reuse.h: unless the tuple is used again
 *            names us?               adopt.h: the kernel makes the socket
 *            as its inspector?       handover.h: whose shall it be?
 *            from its inspector?     ours: adopt.h
 *            another's?           guard.h: nothing, unless that node has failed
 *   ICMP     about a socket of ours? icmp.h
 *   question of another node         ask.h
 *
 * Every way out is in reason.h. Which sockets came and went: sockets.h; which RSTs
 * the kernel sent: resets.h.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "ask.h"
#include "evidence.h"
#include "guard.h"
#include "handover.h"
#include "icmp.h"
#include "resets.h"
#include "sockets.h"

char LICENSE[] SEC("license") = "GPL";

/* A SYN. All look whether the tuple is in use here, and remember what a later ACK
 * can't tell; who answers is in speculate.h. */
static __noinline int on_syn(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg)
{
	enum reason reason = part_in(cfg, &seg->flow);
	struct traced traced = look_up_traces(&seg->flow, cfg->lifetime);
	struct ov_service svc;
	struct options syn;
	int verdict;
	__u32 owner;

	supersede(seg, traced);
	forget_superseded(seg, traced);
	if (!find_service(cfg, &seg->flow, &svc))
		return answers(reason) ? reply_rst(skb, seg, REASON_REFUSED_NO_SERVICE)
				       : drop(REASON_NOT_PRIMARY);
	if (!parse_options(skb, seg, &syn))
		return drop(REASON_BAD_TCP_OPTIONS);
	if (!syn.timestamps) {
		record_syn(seg, &syn);
		if (is_copy(skb, &seg->flow))
			return on_copy(seg, traced);
	}
	note_client(skb, &seg->flow.client);
	if (inspects(&svc) && reason != REASON_NOT_PRIMARY)
		supersede_decision(seg);
	if (reason == REASON_AWAITING)
		reason = await(skb, cfg, seg, &syn);
	if (!answers(reason))
		return drop(reason);
	owner = name(cfg, &svc, seg);
	if (owner == UNDECIDED)
		return drop(REASON_NO_NODE);
	verdict = answer(skb, cfg, seg, &syn, owner);
	return verdict == GO_ON ? reply(skb, reason) : verdict;
}

static __always_inline bool names_us(struct ov_config *cfg, struct segment *seg)
{
	return seg->ack && !seg->rst && !seg->syn && cookie_owner(seg->ack_seq - 1) == cfg->self;
}

/* Its inspector says that it is ours. Only its cookie names that one: what else such a
 * frame may be, we have seen from the client. What follows a handed segment is not for us. */
static __always_inline int on_handed(struct __sk_buff *skb, struct ov_config *cfg,
				     struct segment *seg, struct bpf_sock *skc,
				     struct bpf_tcp_req_attrs *attrs)
{
	int cookie;

	if (!is_for_us(skb, cfg, seg))
		return drop(REASON_FOREIGN);
	seg->handed = 1;
	take_options(skb, seg);
	cookie = check_adoption(skb, cfg, seg, attrs);
	if (cookie == COOKIE_INSPECT)
		return adopt(skb, seg, skc, attrs, REASON_ADOPTED_HANDED);
	return drop(cookie == COOKIE_VALID ? REASON_FOREIGN : cookie);
}

/* What check_adoption says of a segment that names us. FOREIGN: it only seems to. */
static __always_inline int check_named(struct __sk_buff *skb, struct ov_config *cfg,
				       struct segment *seg, struct bpf_tcp_req_attrs *attrs)
{
	int cookie;

	if (is_given_away(cfg, seg, false))
		return REASON_FOREIGN;
	cookie = check_adoption(skb, cfg, seg, attrs);
	if ((cookie == REASON_COOKIE_MISMATCH || cookie == REASON_COOKIE_NO_RECORD) &&
	    is_given_away(cfg, seg, true))
		return REASON_FOREIGN;
	return cookie;
}

/* Another node's, unless that has failed. */
static __always_inline int on_foreign(struct __sk_buff *skb, struct ov_config *cfg,
				      struct segment *seg, struct bpf_sock *skc,
				      struct bpf_tcp_req_attrs *attrs, int cookie, bool follows)
{
	enum reason reason = guard(skb, cfg, seg, cookie);

	switch (reason) {
	case REASON_RESET_ORPHAN:
	case REASON_RESET_YOUNG:
		return reply_rst(skb, seg, reason);
	case REASON_ADOPTED_YOUNG:
		if (!is_valid(check_adoption(skb, cfg, seg, attrs)))
			return drop(REASON_DUPLICATE);
		return adopt(skb, seg, skc, attrs, REASON_ADOPTED_YOUNG);
	default:
		return follows ? follow(skb, cfg, seg, reason) : drop(reason);
	}
}

/* No socket, or only a listener: ours to adopt, or to guard, or nothing to us. skc
 * is what the lookup found; the caller releases it. */
static __always_inline int on_unowned(struct __sk_buff *skb, struct ov_config *cfg,
				      struct segment *seg, struct bpf_sock *skc)
{
	struct traced traced = look_up_traces(&seg->flow, cfg->lifetime);
	int cookie = REASON_FOREIGN, verdict;
	struct bpf_tcp_req_attrs attrs;

	learn(skb, cfg, seg, traced);
	if (names_us(cfg, seg))
		cookie = check_named(skb, cfg, seg, &attrs);
	else if (is_handed(skb, cfg, seg))
		return seg->syn ? on_told(skb, cfg, seg) : on_handed(skb, cfg, seg, skc, &attrs);
	if (cookie == REASON_DUPLICATE)
		return drop(REASON_DUPLICATE);
	if (cookie == COOKIE_VALID)
		return adopt(skb, seg, skc, &attrs, REASON_ADOPTED);
	if (cookie == COOKIE_INSPECT) {
		verdict = on_first(skb, cfg, seg);
		if (verdict == GO_ON)
			return adopt(skb, seg, skc, &attrs, REASON_ADOPTED_INSPECTED);
		if (verdict != TO_GUARD)
			return verdict;
	} else if (has_closed(skb, cfg, seg, traced)) {
		return pass(REASON_CLOSED);
	}
	return on_foreign(skb, cfg, seg, skc, &attrs, cookie, traced.handed && names_us(cfg, seg));
}

/* About a new connection of a tuple whose old socket is here. */
static __always_inline bool is_told(struct __sk_buff *skb, struct ov_config *cfg,
				    struct segment *seg)
{
	return seg->syn && is_handed(skb, cfg, seg);
}

/* Not a SYN: does this kernel have a socket for it? */
static __always_inline int on_segment(struct __sk_buff *skb, struct ov_config *cfg,
				      struct segment *seg, struct bpf_sock *sk)
{
	struct bpf_tcp_sock *tp;
	__u32 rcv_nxt = 0, first;

	if (!sk || sk->state == TCP_LISTEN)
		return on_unowned(skb, cfg, seg, sk);
	if (sk->state == TCP_TIME_WAIT && is_told(skb, cfg, seg))
		return on_told(skb, cfg, seg);
	if (sk->state == TCP_TIME_WAIT)
		return time_wait_rcv_nxt(sk, &rcv_nxt) ? in_time_wait(skb, cfg, seg, rcv_nxt)
						       : pass(REASON_OWN);
	tp = bpf_tcp_sock(sk);
	if (!tp)
		return pass(REASON_OWN);
	rcv_nxt = tp->rcv_nxt;
	first = rcv_nxt - (__u32)tp->bytes_received;
	if (is_strange(sk, seg->seq, rcv_nxt))
		return is_told(skb, cfg, seg) ? on_told(skb, cfg, seg)
					      : on_live(skb, cfg, seg, rcv_nxt, first);
	return pass(REASON_OWN);
}

static __always_inline int on_tcp(struct __sk_buff *skb, struct ov_config *cfg,
				  struct segment *seg, struct bpf_sock_tuple *tuple, __u32 size)
{
	struct bpf_sock *sk;
	int verdict;

	sk = bpf_skc_lookup_tcp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (seg->syn && !seg->ack) {
		if (sk) {
			if (sk->state != TCP_LISTEN && sk->state != TCP_TIME_WAIT)
				mark_live(sk, seg->seq);
			bpf_sk_release(sk);
		}
		return on_syn(skb, cfg, seg);
	}
	verdict = on_segment(skb, cfg, seg, sk);
	if (sk)
		bpf_sk_release(sk);
	return verdict;
}

static __always_inline int on_v4(struct __sk_buff *skb, struct ov_config *cfg)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + L3_OFFSET;
	struct tcphdr *tcp = data + L4_OFFSET_V4;
	struct segment seg = { .l4 = L4_OFFSET_V4 };
	__u32 total = 0;
	int verdict;

	verdict = parse_v4(skb, cfg, ip, end, &total);
	if (verdict == FROM_VIP)
		return from_vip_v4(skb, cfg, ip, &seg, end);
	if (verdict != GO_ON)
		return verdict;
	if (!cfg->self || cfg->stood_down)
		return drop(cfg->self ? REASON_STOOD_DOWN : REASON_NOT_READY);
	map_v4(&seg.flow.client, ip->saddr);
	map_v4(&seg.flow.vip, ip->daddr);
	if (ip->protocol == IPPROTO_ICMP)
		return icmp_v4(skb, cfg, &seg.flow, total - sizeof(*ip));
	if (ip->protocol != IPPROTO_TCP)
		return drop(REASON_NOT_TCP);
	if ((void *)(tcp + 1) > end)
		return drop(REASON_TRUNCATED);
	verdict = parse_tcp(tcp, total - sizeof(*ip), &seg);
	if (verdict != GO_ON)
		return verdict;
	return on_tcp(skb, cfg, &seg, (struct bpf_sock_tuple *)&ip->saddr, 12);
}

static __always_inline int on_v6(struct __sk_buff *skb, struct ov_config *cfg)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ipv6hdr *ip = data + L3_OFFSET;
	struct tcphdr *tcp = data + L4_OFFSET_V6;
	struct segment seg = { .l4 = L4_OFFSET_V6, .v6 = 1 };
	__u32 total = 0;
	int verdict;

	verdict = parse_v6(skb, cfg, ip, end, &total);
	if (verdict == FROM_VIP)
		return from_vip_v6(skb, cfg, ip, &seg, end);
	if (verdict != GO_ON)
		return verdict;
	if (!cfg->self || cfg->stood_down)
		return drop(cfg->self ? REASON_STOOD_DOWN : REASON_NOT_READY);
	__builtin_memcpy(&seg.flow.client, &ip->saddr, sizeof(ip->saddr));
	__builtin_memcpy(&seg.flow.vip, &ip->daddr, sizeof(ip->daddr));
	if (ip->nexthdr == IPPROTO_ICMPV6)
		return icmp_v6(skb, cfg, &seg.flow, total - sizeof(*ip));
	if (ip->nexthdr != IPPROTO_TCP)
		return drop(is_extension(ip->nexthdr) ? REASON_EXT_HEADER : REASON_NOT_TCP);
	if ((void *)(tcp + 1) > end)
		return drop(REASON_TRUNCATED);
	verdict = parse_tcp(tcp, total - sizeof(*ip), &seg);
	if (verdict != GO_ON)
		return verdict;
	return on_tcp(skb, cfg, &seg, (struct bpf_sock_tuple *)&ip->saddr, 36);
}

SEC("tcx/ingress")
int onevip_ingress(struct __sk_buff *skb)
{
	struct ov_config *cfg = get_config();
	__u32 headers = skb->len < 128 ? skb->len : 128;
	void *data, *end;
	struct ethhdr *eth;

	if (!cfg)
		return TCX_NEXT;
	if ((__u64)skb->data_end - skb->data < headers)
		bpf_skb_pull_data(skb, headers);
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	eth = data;
	if ((void *)(eth + 1) > end)
		return pass(REASON_NOT_VIP);
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return on_v4(skb, cfg);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return on_v6(skb, cfg);
	if (eth->h_proto == bpf_htons(ETH_P_ONEVIP))
		return on_ask(skb, cfg);
	return pass(REASON_NOT_VIP);
}

/* Run by the agent when it starts. */
SEC("syscall")
int onevip_clocks(void *ctx)
{
	return make_clocks();
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(onevip_sockets, const struct sock *sk, int from, int to)
{
	socket_state(sk, from, to);
	return 0;
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(onevip_resets, const struct sock *sk, const struct sk_buff *skb)
{
	on_reset(sk, skb);
	return 0;
}
