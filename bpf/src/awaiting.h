/* SPDX-License-Identifier: GPL-2.0 */
/*
 * awaiting.h - SYNs that wait for their primary's answer at the secondary. Evidence of
 * an answer (evidence.h) takes them away. A clock wakes those that are left when their
 * time is up; many share one, which runs while any of them waits.
 */
#ifndef ONEVIP_AWAITING_H
#define ONEVIP_AWAITING_H

#include "answer.h"
#include "notices.h"

/* A SYN that the client sends again within this time after we answered it is not
 * made to wait once more: it re-sends after 1 s and 3 s. */
#define REMEMBERED (4 * NSEC_PER_SEC)

#define TIMER_SLACK (16ULL << TICK_SHIFT) /* timers are late, never early */

static __always_inline void trace_awaiting(struct ov_flow *f, __u64 ns)
{
	struct ov_trace *trace = trace_of(f);

	if (trace)
		trace->awaited = ticks_from_now(ns + TIMER_SLACK);
}

/* As copy_syn_to, by way of the agent: the SYN of a client without timestamps, with
 * what its record needs. */
static __noinline void tell_syn(struct segment *syn, const struct options *opt,
				const struct ether_out *was, __u32 owner)
{
	struct ov_member *m = find_member(owner);
	struct ether_out eth = *was;
	struct packet_out out;
	struct ov_notice *n;

	if (!m)
		return;
	__builtin_memcpy(eth.dest, m->mac, ETH_ALEN);
	__builtin_memcpy(eth.source, was->dest, ETH_ALEN);
	start_tcp(&out, syn->flow.client_port, syn->flow.vip_port, sizeof(out.h) + 12);
	out.options[0] = bpf_htonl(0x02040000 | opt->mss);
	out.options[1] = bpf_htonl(opt->sack ? 0x01010402 : 0x01010101);
	out.options[2] = bpf_htonl(opt->wscale == NO_WSCALE ? 0x01010101 : 0x01030300 | opt->wscale);
	out.h.syn = 1;
	out.h.ece = out.h.cwr = syn->ecn_setup;
	out.h.seq = bpf_htonl(syn->seq);
	write_headers(&eth, syn, &out, sizeof(out.h) + 12, false);
	n = start_notice(NOTICE_COPY, &syn->flow);
	if (!n)
		return;
	n->owner = owner;
	n->len = copy_frame(&out, syn->v6, n->frame);
	bpf_ringbuf_submit(n, 0);
}

/* Answers for the primary, by way of the agent: a timer can't send a packet. */
static __noinline void answer_late(struct ov_config *cfg, struct ov_flow *f, __u32 isn,
				   struct ov_awaiting *w)
{
	struct segment syn = { .flow = *f, .seq = isn, .v6 = w->v6, .ecn_setup = w->ecn_setup };
	struct ov_service *svc = service_of(f);
	struct options opt = w->syn;
	struct packet_out out;
	struct ov_notice *n;
	__u32 owner;

	owner = svc ? name(cfg, svc, &syn) : UNDECIDED;
	if (owner == UNDECIDED)
		return count(REASON_NO_NODE);
	if (!make_syn_ack(cfg, &syn, &opt, owner, &out))
		return count(REASON_NOT_READY);
	if (!opt.timestamps && owner != cfg->self)
		tell_syn(&syn, &opt, (struct ether_out *)w->ethernet, owner);
	write_headers((struct ether_out *)w->ethernet, &syn, &out, out.h.doff * 4, true);
	if (owner == cfg->self)
		keep_answer(&syn, &out);
	n = start_notice(NOTICE_SEND, f);
	if (!n)
		return;
	n->primary = w->primary;
	n->owner = owner;
	n->len = copy_frame(&out, syn.v6, n->frame);
	bpf_ringbuf_submit(n, 0);
	count(REASON_SPECULATED);
}

static __always_inline struct ov_awaiting *place_at(__u32 place)
{
	return bpf_map_lookup_elem(&awaiting, &place);
}

static __always_inline __u32 place_of(const struct ov_syn_key *key)
{
	return mix(flow_hash(&key->flow), key->isn) & (AWAITING_PLACES - 1);
}

static __always_inline struct ov_clock *clock_of(__u32 place)
{
	__u32 clock = place / CLOCK_PLACES;

	return bpf_map_lookup_elem(&clocks, &clock);
}

static __always_inline __u64 *word_of(struct ov_clock *c, __u32 place)
{
	return &c->waiting[place / 64 & (CLOCK_PLACES / 64 - 1)];
}

/* Was it set already? */
static __always_inline bool set_waiting(struct ov_clock *c, __u32 place)
{
	__u64 bit = 1ULL << (place & 63);

	return __sync_fetch_and_or(word_of(c, place), bit) & bit;
}

static __always_inline void clear_waiting(struct ov_clock *c, __u32 place)
{
	__sync_fetch_and_and(word_of(c, place), ~(1ULL << (place & 63)));
}

/* In this order: who takes it then is waited for again. */
static __always_inline void free_place(struct ov_clock *c, __u32 place, struct ov_awaiting *w)
{
	clear_waiting(c, place);
	__sync_lock_test_and_set(&w->taken, PLACE_FREE);
}

static __always_inline bool is_over(const struct ov_awaiting *w)
{
	return w->taken == PLACE_FREE ||
	       (w->taken == PLACE_ANSWERED && w->due <= bpf_ktime_get_ns());
}

static __always_inline bool is_of(const struct ov_awaiting *w, const struct ov_syn_key *key)
{
	const __u64 *a = (const __u64 *)&w->key, *b = (const __u64 *)key;

	for (int i = 0; i < (int)(sizeof(*key) / 8); i++)
		if (a[i] != b[i])
			return false;
	return w->taken != PLACE_BUSY && !is_over(w);
}

/* Answers the SYN that waits in a place, if its time is up. When will it be, in
 * nanoseconds from now? 0: nobody waits there. Not static: the verifier looks at it once. */
__noinline __u64 wake(__u32 place)
{
	struct ov_config *cfg = get_config();
	struct ov_awaiting *w = place_at(place);
	struct ov_clock *c = clock_of(place);
	__u64 now = bpf_ktime_get_ns();

	if (!w || !c)
		return 0;
	if (w->taken != PLACE_WAITS) {
		clear_waiting(c, place);
		/* Unless it has been taken just now. */
		return w->taken == PLACE_WAITS && !set_waiting(c, place) ? NSEC_PER_MSEC : 0;
	}
	if (w->due > now)
		return w->due - now;
	if (!cfg || !cfg->self || cfg->stood_down || !cfg->speculates) {
		free_place(c, place, w);
		return 0;
	}
	/* Evidence may free it in this moment, and another SYN take it. */
	if (__sync_val_compare_and_swap(&w->taken, PLACE_WAITS, PLACE_BUSY) != PLACE_WAITS)
		return NSEC_PER_MSEC;
	clear_waiting(c, place);
	trace_awaiting(&w->key.flow, REMEMBERED);
	answer_late(cfg, &w->key.flow, w->key.isn, w);
	w->due = now + REMEMBERED;
	__sync_lock_test_and_set(&w->taken, PLACE_ANSWERED);
	return 0;
}

/* One look at all places of a clock. */
struct round {
	__u64 next; /* in how many nanoseconds the first is due of those that wait; 0: none does */
	__u64 bits; /* of the places from `first` on */
	__u32 clock;
	__u32 first;
};

static long wake_place(__u32 bit, struct round *r)
{
	__u64 next;

	if (!(r->bits >> (bit & 63) & 1))
		return 0;
	next = wake(r->first + bit);
	if (next && (!r->next || next < r->next))
		r->next = next;
	return 0;
}

static long wake_word(__u32 word, struct round *r)
{
	struct ov_clock *c = bpf_map_lookup_elem(&clocks, &r->clock);

	if (!c || word >= CLOCK_PLACES / 64)
		return 1;
	r->bits = c->waiting[word];
	r->first = r->clock * CLOCK_PLACES + word * 64;
	if (r->bits)
		bpf_loop(64, wake_place, r, 0);
	return 0;
}

static __always_inline bool anybody_waits(const struct ov_clock *c)
{
	__u64 any = 0;

	for (int i = 0; i < CLOCK_PLACES / 64; i++)
		any |= c->waiting[i];
	return any;
}

/* The timer's end. It goes on while anybody waits. Who comes to wait while it stops
 * starts it, or finds it armed and is seen here. */
static int on_timer(void *map, __u32 *clock, struct ov_clock *c)
{
	struct round r = { .clock = *clock };

	bpf_loop(CLOCK_PLACES / 64, wake_word, &r, 0);
	if (!r.next) {
		__sync_lock_test_and_set(&c->armed, 0);
		if (!anybody_waits(c) || __sync_val_compare_and_swap(&c->armed, 0, 1))
			return 0;
		r.next = NSEC_PER_MSEC;
	}
	bpf_timer_start(&c->timer, r.next, 0);
	return 0;
}

/* Has the place woken in due time. False: its clock has no timer. */
static __always_inline bool start_clock(struct ov_clock *c, __u32 place, __u64 delay)
{
	if (set_waiting(c, place) || c->armed || __sync_val_compare_and_swap(&c->armed, 0, 1))
		return true;
	if (!bpf_timer_set_callback(&c->timer, on_timer) && !bpf_timer_start(&c->timer, delay, 0))
		return true;
	c->armed = 0;
	return false;
}

static long make_clock(void *map, __u32 *clock, struct ov_clock *c, __u32 *missing)
{
	long err = bpf_timer_init(&c->timer, &clocks, CLOCK_MONOTONIC);

	if (err && err != -EBUSY) /* it has one */
		++*missing;
	return 0;
}

/* Gives each clock its timer, which stays. How many lack one yet? */
static __always_inline __u32 make_clocks(void)
{
	__u32 missing = 0;

	bpf_for_each_map_elem(&clocks, make_clock, &missing, 0);
	return missing;
}

/* The place is ours to fill in, unless another SYN waits there. */
static __always_inline bool take_place(struct ov_awaiting *w)
{
	__u32 was = w->taken;

	return is_over(w) && __sync_val_compare_and_swap(&w->taken, was, PLACE_BUSY) == was;
}

/* Waits for the primary: AWAITING. Or the reason to answer the SYN now. Not static: see
 * walk_options. */
__noinline enum reason await(struct __sk_buff *skb, struct ov_config *cfg, struct segment *seg,
			     struct options *syn)
{
	struct ov_syn_key key = {};
	struct ov_awaiting *w;
	struct ov_clock *c;
	__u32 place;

	if (!cfg || !seg || !syn)
		return REASON_NOT_READY;
	key.flow = seg->flow;
	key.isn = seg->seq;
	place = place_of(&key);
	w = place_at(place);
	c = clock_of(place);
	if (!w || !c)
		return REASON_ANSWERED_UNTIMED;
	if (is_of(w, &key))
		return REASON_ANSWERED_SECOND_SYN;
	if (!take_place(w))
		return REASON_ANSWERED_UNTIMED;
	w->key = key;
	w->due = bpf_ktime_get_ns() + cfg->delay;
	w->syn = *syn;
	w->v6 = seg->v6;
	w->ecn_setup = seg->ecn_setup;
	w->primary = primary_of(&seg->flow);
	if (bpf_skb_load_bytes(skb, 0, w->ethernet, ETHERNET_SIZE)) {
		free_place(c, place, w);
		return REASON_ANSWERED_UNTIMED;
	}
	__sync_lock_test_and_set(&w->taken, PLACE_WAITS); /* what stands there before is seen with it */
	if (!start_clock(c, place, cfg->delay)) {
		free_place(c, place, w);
		return REASON_ANSWERED_UNTIMED;
	}
	trace_awaiting(&seg->flow, cfg->delay);
	return REASON_AWAITING;
}

static __always_inline bool is_awaiting(const struct ov_syn_key *key)
{
	struct ov_awaiting *w = place_at(place_of(key));

	return w && is_of(w, key);
}

/* The SYN is answered. */
static __always_inline void stop(const struct ov_syn_key *key)
{
	__u32 place = place_of(key);
	struct ov_awaiting *w = place_at(place);
	struct ov_clock *c = clock_of(place);

	if (w && c && is_of(w, key))
		free_place(c, place, w);
}

#endif
