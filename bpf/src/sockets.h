/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sockets.h - the kernel tells which sockets of our services came and went: for
 * the active count, for adoptions, and for tombstones. There is no second table
 * of connections that could disagree with it.
 */
#ifndef ONEVIP_SOCKETS_H
#define ONEVIP_SOCKETS_H

#include "service.h"
#include "tally.h"

/* Of the network namespace that this object was loaded for; tracing programs see
 * all of them. */
const volatile __u64 netns_cookie = 0;

/* A socket that closes has lost skc_num by then (inet_put_port); inet_sport stays. */
static __always_inline bool flow_of_socket(const struct sock *sk, const struct tcp_sock *tp,
					   struct ov_flow *f)
{
	const struct sock_common *c = &sk->__sk_common;

	__builtin_memset(f, 0, sizeof(*f));
	f->client_port = c->skc_dport;
	f->vip_port = tp->inet_conn.icsk_inet.inet_sport;
	if (c->skc_family == AF_INET) {
		map_v4(&f->client, c->skc_daddr);
		map_v4(&f->vip, c->skc_rcv_saddr);
		return true;
	}
	if (c->skc_family != AF_INET6)
		return false;
	for (int i = 0; i < 4; i++) {
		f->client.words[i] = c->skc_v6_daddr.s6_addr32[i];
		f->vip.words[i] = c->skc_v6_rcv_saddr.s6_addr32[i];
	}
	return true;
}

/* A node's own client of its own VIP, such as a health check, comes over lo. */
static __always_inline bool is_local(const struct ov_flow *f)
{
	return f->client.halves[0] == f->vip.halves[0] && f->client.halves[1] == f->vip.halves[1];
}

static __always_inline void opened(struct ov_service *svc, struct ov_flow *f)
{
	__u32 id = svc->id, primary = primary_of(f);
	struct ov_by_node *by = bpf_map_lookup_elem(&adopted, &id);
	struct ov_conns *n = bpf_map_lookup_elem(&conns, &id);

	if (by)
		__sync_fetch_and_add(&by->count[primary & 0xff], 1);
	if (n)
		__sync_fetch_and_add(&n->opened, 1);
	bpf_map_delete_elem(&unheard, f);
}

/* Remembers the ISN: what arrived in all, taken from where the stream ends. */
static __always_inline void closed(struct ov_service *svc, struct ov_flow *f,
				   const struct tcp_sock *tp)
{
	struct ov_conns *n;
	struct ov_tombstone t = {};
	__u32 id = svc->id;
	struct ov_trace *trace = trace_of(f);
	struct ov_config *cfg = get_config();

	t.self = cfg ? cfg->self : UNDECIDED;
	t.rcv_nxt = tp->rcv_nxt;
	t.isn = t.rcv_nxt - (__u32)tp->bytes_received - 1;
	bpf_map_update_elem(&tombstones, f, &t, BPF_ANY);
	if (trace)
		trace->closed = bpf_ktime_get_ns() / NSEC_PER_SEC;
	n = bpf_map_lookup_elem(&conns, &id);
	if (n)
		__sync_fetch_and_add(&n->closed, 1);
}

static __always_inline void socket_state(const struct sock *sk, int from, int to)
{
	struct ov_service *svc;
	struct tcp_sock *tp;
	struct ov_flow flow;

	if (to != TCP_ESTABLISHED && to != TCP_CLOSE)
		return;
	if (sk->__sk_common.skc_net.net->net_cookie != netns_cookie)
		return;
	tp = bpf_skc_to_tcp_sock((void *)sk);
	if (!tp || !flow_of_socket(sk, tp, &flow) || is_local(&flow))
		return;
	svc = service_of(&flow);
	if (!svc)
		return;
	if (to == TCP_ESTABLISHED && from == TCP_SYN_RECV) {
		opened(svc, &flow);
		is_ours(&flow, tp->rcv_nxt - (__u32)tp->bytes_received - 1);
	} else if (to == TCP_CLOSE && from != TCP_SYN_SENT && from != TCP_SYN_RECV &&
		   from != TCP_LISTEN && from != TCP_CLOSE) {
		closed(svc, &flow, tp);
	}
}

#endif
