/* SPDX-License-Identifier: GPL-2.0 */
/*
 * adopt.h - a segment for which this kernel has no socket: either it finishes a
 * handshake that names this node, and the kernel makes the socket as if it had
 * done the handshake itself, or it is nothing to us.
 */
#ifndef ONEVIP_ADOPT_H
#define ONEVIP_ADOPT_H

#include "reuse.h"

extern int bpf_sk_assign_tcp_reqsk(struct __sk_buff *s, struct sock *sk,
				   struct bpf_tcp_req_attrs *attrs, int attrs__sz) __ksym;

/* The kernel takes no MSS below that of the least MTU (1280 for IPv6, RFC 8200). */
static __always_inline void fill_attrs(struct ov_config *cfg, struct segment *seg,
				       struct options *ts, struct cookie *c,
				       struct bpf_tcp_req_attrs *a)
{
	__builtin_memset(a, 0, sizeof(*a));
	a->mss = mss_of(c->opt.mss_index || !seg->v6 ? c->opt.mss_index : 1);
	a->wscale_ok = c->opt.wscale != NO_WSCALE;
	if (a->wscale_ok) {
		a->snd_wscale = c->opt.wscale;
		a->rcv_wscale = cfg->window_scale;
	}
	a->sack_ok = c->opt.sack;
	a->ecn_ok = c->opt.ecn;
	if (c->timestamps) {
		a->tstamp_ok = 1;
		a->rcv_tsval = ts->tsval;
		a->rcv_tsecr = ts->tsecr; /* the kernel aligns its clock to it */
	}
}

/* Did this node have the connection once, under the id that it has now? Then the
 * kernel answers the segment with the RST that TCP owes. What it had as another, a
 * guard may have taken over. */
static __always_inline bool has_closed(struct __sk_buff *skb, struct ov_config *cfg,
				       struct segment *seg, struct traced traced)
{
	struct ov_tombstone *t = find_tombstone(seg, traced);

	return t && t->self == cfg->self && !seg->rst && is_of_old(skb, cfg, seg, t);
}

/* Would the segment run a closed connection's request again? */
static __always_inline bool is_duplicate(struct segment *seg)
{
	struct ov_tombstone *t = bpf_map_lookup_elem(&tombstones, &seg->flow);

	return t && t->isn == seg->seq - 1;
}

/* The MPTCP listener is the refusal that operators meet: it has its own reason. */
static __always_inline enum reason refusal(struct bpf_sock *listener)
{
	return bpf_skc_to_mptcp_sock(listener) ? REASON_ADOPT_MPTCP : REASON_ADOPT_REFUSED;
}

/*
 * May the segment be adopted? COOKIE_VALID; COOKIE_INSPECT, if the node that it names says
 * so; or the reason why not. One that was adopted already but found no room in the accept
 * queue comes here again, until there is a socket.
 */
static __noinline int check_adoption(struct __sk_buff *skb, struct ov_config *cfg,
				     struct segment *seg, struct bpf_tcp_req_attrs *attrs)
{
	struct options ts;
	struct cookie c;
	int err;

	if (!parse_options(skb, seg, &ts))
		return REASON_BAD_TCP_OPTIONS;
	err = check_cookie(cfg, seg, &ts, &c);
	if (!is_valid(err))
		return err;
	if (is_duplicate(seg))
		return REASON_DUPLICATE;
	fill_attrs(cfg, seg, &ts, &c, attrs);
	return err;
}

/* Nobody listens. What was handed over has its inspector's address: the client's is that
 * of its SYN, as far as we know. */
static __always_inline int refuse(struct __sk_buff *skb, struct segment *seg)
{
	__be16 client[3];
	bool is_other;

	forget_unheard(&seg->flow);
	if (seg->handed && (!guess_client(&seg->flow.client, client, &is_other) ||
			    bpf_skb_store_bytes(skb, ETH_ALEN, client, sizeof(client), 0)))
		return drop(REASON_NO_CLIENT);
	return reply_rst(skb, seg, REASON_RESET_NO_LISTENER);
}

/* What is checked goes to its listener. */
static __always_inline int adopt(struct __sk_buff *skb, struct segment *seg, struct bpf_sock *skc,
				 struct bpf_tcp_req_attrs *attrs, enum reason reason)
{
	struct sock *listener = skc ? (struct sock *)bpf_skc_to_tcp_sock(skc) : NULL;

	if (!listener)
		return refuse(skb, seg);
	if (bpf_sk_assign_tcp_reqsk(skb, listener, attrs, sizeof(*attrs)))
		return drop(refusal(skc));
	return pass(reason);
}

#endif
