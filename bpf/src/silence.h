/* SPDX-License-Identifier: GPL-2.0 */
/*
 * silence.h - a client that is connected and asks for nothing. Nobody may wait for its
 * first word for ever: it may wait for ours. So its inspector's SYN/ACK goes out again
 * some time after its first bare ACK (unheard.go), and the ACK that this brings decides.
 *
 * Time counts from that first ACK: what went before was the client's round trip, or lost
 * frames. Where nothing can be kept of it, or nobody would send again, the first decides.
 */
#ifndef ONEVIP_SILENCE_H
#define ONEVIP_SILENCE_H

#include "answer.h"
#include "reuse.h"

enum silence {
	SILENCE_SHORT,
	SILENCE_OVER,  /* it lasts too long: somebody gets the connection */
	SILENCE_CLOSE, /* likewise, and the service wants none of it */
};

/* Of the SYN/ACK that a bare ACK answers, whichever it was: all that its numbers don't say. */
struct answered {
	struct options o;
	__u32 ecn;
	__u32 silent; /* see struct ov_unheard */
};

/* All of it stands in the ACK, or in the record of the SYN. Not static: see walk_options. */
__noinline bool read_answered(struct __sk_buff *skb, struct segment *seg, struct answered *a)
{
	struct cookie c = {};

	if (!seg || !a || !parse_options(skb, seg, &a->o))
		return false;
	c.client_isn = seg->seq - 1;
	if (cookie_options(seg, &a->o, &c) != COOKIE_VALID)
		return false;
	a->o.wscale = c.opt.wscale;
	a->o.sack = c.opt.sack;
	a->ecn = c.opt.ecn;
	return true;
}

/* False if there is no room. Not static: see walk_options. */
__noinline bool keep_connected(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
			       struct answered *a)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ov_unheard *draft = draft_unheard();
	struct packet_out out;

	if (!cfg || !seg || !a || !draft || data + sizeof(struct ether_out) > end)
		return false;
	write_syn_ack(cfg, seg, &a->o, a->o.tsecr, &out);
	out.h.ece = a->ecn;
	out.h.seq = bpf_htonl(seg->ack_seq - 1);
	out.h.ack_seq = bpf_htonl(seg->seq);
	write_headers(data, seg, &out, out.h.doff * 4, true);
	draft->isn = seg->seq - 1;
	draft->answer = seg->ack_seq - 1;
	draft->silent = a->silent;
	draft->connected = 1;
	draft->len = copy_frame(&out, seg->v6, draft->frame);
	return keep_draft(&seg->flow, draft);
}

/* Milliseconds that the client may say nothing; 0: nobody waits for it. Not static: see
 * walk_options. */
__noinline __u32 patience(struct segment *seg)
{
	if (!seg || is_agent_silent())
		return 0;
	return silence_of(&seg->flow);
}

static __always_inline bool is_to_close(struct segment *seg)
{
	struct ov_service *svc = service_of(&seg->flow);
	struct ov_rules *r = svc ? rules_of(svc) : NULL;

	return r && r->close;
}

/* The handshake's last segment says nothing, perhaps for the second time. Not static: see
 * walk_options. */
__noinline int silence(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg)
{
	struct answered a;
	struct ov_unheard *u;
	__u64 now;

	if (!cfg || !seg)
		return SILENCE_SHORT;
	a.silent = patience(seg);
	if (!a.silent)
		return SILENCE_OVER;
	u = bpf_map_lookup_elem(&unheard, &seg->flow);
	if (!u || !u->silent || u->isn != seg->seq - 1 || u->answer != seg->ack_seq - 1)
		return read_answered(skb, seg, &a) && keep_connected(skb, cfg, seg, &a)
			       ? SILENCE_SHORT
			       : SILENCE_OVER;
	now = bpf_ktime_get_ns();
	if (!u->connected) {
		u->at = now;
		u->connected = 1;
		trace_unheard(&seg->flow, u);
		return SILENCE_SHORT;
	}
	if (now - u->at < u->silent * NSEC_PER_MSEC)
		return SILENCE_SHORT;
	return is_to_close(seg) ? SILENCE_CLOSE : SILENCE_OVER;
}

#endif
