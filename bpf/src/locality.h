/* SPDX-License-Identifier: GPL-2.0 */
/*
 * locality.h - which node has what this request asks for? By LARD with replication
 * (Pai et al., ASPLOS 1998) or by consistent hashing with bounded loads (Mirrokni et
 * al., SODA 2018). The oracles are scheduler.LARD and scheduler.BoundedHash in Go, which
 * say why; a test compares them on random histories.
 */
#ifndef ONEVIP_LOCALITY_H
#define ONEVIP_LOCALITY_H

#include "fallback.h"
#include "schedule.h"

#define SET_SIZE 8    /* the bytes of ov_bucket.nodes */
#define HOME_STEPS 64 /* so many places of source_hash are looked at */
#define BOUND_UNIT 1024
#define WEIGHT_UNIT 64 /* what a node of weight 1 has in ov_load */

/* What became of a request whose key was found. */
#define OUTCOMES(O)                                                                     \
	O(HIT)	   /* to a node that has served its bucket before, or to its home */    \
	O(MOVED)   /* none of those may be picked: to the next home */                  \
	O(GROWN)   /* those are overloaded: to one more, which stays */                 \
	O(SHRUNK)  /* a hit; the set, unchanged for long, was given up in part */       \
	O(SPILLED) /* past its home, which is at its bound */

#define OUTCOME(name) OUTCOME_##name,
enum outcome { OUTCOMES(OUTCOME) OUTCOME_COUNT };
#undef OUTCOME

/* See map inspected. */
_Static_assert(OUTCOME_COUNT <= OUTCOME_FALLBACK, "outcomes and fallbacks overlap");
_Static_assert(OUTCOME_FALLBACK + FALLBACK_COUNT <= OUTCOME_ROOM, "services overlap");

static __always_inline void count_inspected(__u32 service, __u32 what)
{
	__u32 key = service * OUTCOME_ROOM + what;
	__u64 *n = bpf_map_lookup_elem(&inspected, &key);

	if (n)
		(*n)++;
}

/* Not inlined, so that the object tells the enum's names. */
static __noinline void count_outcome(__u32 service, enum outcome outcome)
{
	count_inspected(service, outcome);
}

static __always_inline void count_fallback(__u32 service, enum fallback why)
{
	count_inspected(service, OUTCOME_FALLBACK + why);
}

/* The search for one request's node: the winner of its tournament, so far. */
struct search {
	struct tournament t;
	struct ov_rules *rules;
	struct ov_source_hash *homes;
	__u32 row; /* of homes */
	__u32 home;
	__u64 load, weight; /* of all that may be picked, under bounded-hash */
	__u64 set;    /* nodes, a byte each, the first lowest, no gap */
	__u32 least;  /* where the set's best stands in ov_loads, or NOBODY */
	__u32 leaver; /* who leaves the set first, if one has to; UNDECIDED: nobody can */
	struct standing best;
};

/* Where a node stands in ov_loads, or NOBODY: it must not be picked. */
static __always_inline __u32 index_of(struct tournament *t, __u32 node)
{
	__u32 place = t->loads->place[node & (NODE_COUNT - 1)];

	if (node == UNDECIDED || node == t->absent || place >= t->loads->count ||
	    t->loads->nodes[place & (NODE_COUNT - 1)].node != node)
		return NOBODY;
	return place;
}

static __always_inline __u32 node_at(struct tournament *t, __u32 place)
{
	return t->loads->nodes[place & (NODE_COUNT - 1)].node;
}

/* The upper half of a product. */
static __always_inline __u64 high_product(__u64 a, __u64 b)
{
	__u64 a0 = (__u32)a, a1 = a >> 32, b0 = (__u32)b, b1 = b >> 32;
	__u64 left = a1 * b0, right = a0 * b1;
	__u64 middle = (a0 * b0 >> 32) + (__u32)left + (__u32)right;

	return a1 * b1 + (left >> 32) + (right >> 32) + (middle >> 32);
}

/* Is a * b < c * d? The products have up to 128 bits. */
__noinline bool is_product_less(__u64 a, __u64 b, __u64 c, __u64 d)
{
	__u64 high = high_product(a, b), other = high_product(c, d);

	return high != other ? high < other : a * b < c * d;
}

/* load + 1 <= ceil(bound * (all load + 1) * weight / all weight), but for the division. */
static __always_inline bool is_below_bound(struct search *s, __u32 place)
{
	__u64 bound = s->rules->bound;
	struct standing n;

	judge(&s->t, place, &n);
	return is_product_less(n.load, s->weight * BOUND_UNIT, s->load + 1, bound * n.weight);
}

/* A step from the home on: stops at a node that may be picked, and under bounded-hash is
 * below its bound. */
static long step(__u32 i, struct search *s)
{
	__u32 place;

	if (!s->homes)
		return 1;
	place = index_of(&s->t, s->homes->node[(s->row + i) & (SLOT_COUNT - 1)]);
	if (place == NOBODY)
		return 0;
	if (s->t.policy == POLICY_BOUNDED_HASH && !is_below_bound(s, place))
		return 0;
	s->t.winner = place;
	return 1;
}

/* Where no step finds one, the best node of all wins. */
static __always_inline void walk(struct search *s)
{
	s->t.winner = NOBODY;
	bpf_loop(HOME_STEPS, step, s, 0);
	if (s->t.winner >= s->t.loads->count)
		find_best(&s->t);
}

/* The absent node is none of those that may be picked. */
static __always_inline void total_up(struct search *s)
{
	__u32 absent = s->t.absent, place;
	struct standing n;

	s->load = s->t.tree->load;
	s->weight = s->t.tree->weight;
	s->t.absent = UNDECIDED;
	place = index_of(&s->t, absent);
	s->t.absent = absent;
	if (place == NOBODY)
		return;
	judge(&s->t, place, &n);
	s->load -= n.load;
	s->weight -= n.weight;
}

/* Bounded-hash. It keeps nothing: all inspectors know whose turn is next. */
static __always_inline enum outcome choose_bounded(struct search *s)
{
	total_up(s);
	walk(s);
	return node_at(&s->t, s->t.winner) == s->home ? OUTCOME_HIT : OUTCOME_SPILLED;
}

/* What weigh goes through a set with. */
struct scales {
	struct search *s;
	__u32 gone; /* a member that may not be picked */
	__u32 most; /* where the worst of the others stands */
	struct standing worst;
};

static long put_on(__u32 i, struct scales *w)
{
	struct search *s = w->s;
	__u32 node = s->set >> 8 * (i & (SET_SIZE - 1)) & 0xff, place;
	struct standing n;

	if (node == UNDECIDED)
		return 1;
	place = index_of(&s->t, node);
	if (place == NOBODY) {
		w->gone = node;
		return 0;
	}
	judge(&s->t, place, &n);
	if (s->least == NOBODY || is_better(&n, &s->best)) {
		s->least = place;
		s->best = n;
	}
	if (w->most == NOBODY || !is_better(&n, &w->worst)) {
		w->most = place;
		w->worst = n;
	}
	return 0;
}

/* Finds the best of a set, and who leaves it first: a member that may not be picked, else
 * the worst, of equals the later; never the best. */
static __noinline long weigh(struct search *s)
{
	struct scales w = { .s = s, .gone = UNDECIDED, .most = NOBODY };

	s->least = NOBODY;
	bpf_loop(SET_SIZE, put_on, &w, 0);
	s->leaver = w.gone != UNDECIDED || w.most == s->least ? w.gone : node_at(&s->t, w.most);
	return 0;
}

/* The set without one, and with another behind the rest. Either may be UNDECIDED. */
__noinline __u64 exchange(__u64 set, __u32 leaver, __u32 comer)
{
	__u64 out = 0, node;
	__u32 shift = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < SET_SIZE; i++) {
		node = set >> 8 * i & 0xff;
		if (node == UNDECIDED || node == leaver)
			continue;
		out |= node << shift;
		shift += 8;
	}
	return shift < 64 ? out | (__u64)comer << shift : out;
}

__noinline bool contains(__u64 set, __u32 node)
{
	for (int i = 0; i < SET_SIZE; i++)
		if ((set >> 8 * i & 0xff) == node)
			return true;
	return false;
}

/* The set's best is above high. Is the best node of all a relief? */
static __always_inline bool relieves(struct search *s)
{
	const struct standing *n = &s->best, *p = &s->t.best;

	if (p->load * WEIGHT_UNIT < (__u64)s->rules->low * p->weight)
		return true;
	return n->load * WEIGHT_UNIT >= 2ULL * s->rules->high * n->weight &&
	       p->load * n->weight <= n->load * p->weight / 2;
}

/* If so, the best node of all wins. */
static __noinline bool is_overloaded(struct search *s)
{
	if (s->best.load * WEIGHT_UNIT <= (__u64)s->rules->high * s->best.weight || !find_best(&s->t))
		return false;
	judge(&s->t, s->t.winner, &s->t.best);
	return relieves(s);
}

/* Another CPU may have changed the set meanwhile: its change stays. */
static __always_inline bool change(struct ov_bucket *b, __u64 from, __u64 to, __u64 now)
{
	if (from == to || __sync_val_compare_and_swap(&b->nodes, from, to) != from)
		return false;
	b->changed = now;
	return true;
}

/* The best node of all gets this request, and a place in the set, if need be that of who
 * leaves first. */
static __always_inline bool grow(struct search *s, struct ov_bucket *b, __u64 stored)
{
	__u32 comer = node_at(&s->t, s->t.winner);
	__u32 leaver = s->set >> 8 * (SET_SIZE - 1) ? s->leaver : UNDECIDED;

	if (contains(s->set, comer))
		return false;
	if (change(b, stored, exchange(s->set, leaver, comer), bpf_ktime_get_ns()))
		return true;
	s->t.winner = s->least;
	return false;
}

/* A set that has not changed for long loses one. What is just the home is not stored. */
static __always_inline bool shrink(struct search *s, struct ov_bucket *b, __u64 stored)
{
	__u64 now = bpf_ktime_get_ns(), changed = b->changed, left = 0;

	if (!stored || now <= changed || now - changed <= s->rules->decay)
		return false;
	if (s->set == stored)
		left = exchange(stored, s->leaver, UNDECIDED);
	return change(b, stored, left == s->home ? 0 : left, now);
}

/* The set is empty, or none of it may be picked. Who stands in is not stored, so that all
 * are back where they were as soon as may be. */
static __always_inline enum outcome stand_in(struct search *s)
{
	walk(s);
	if (s->t.winner >= s->t.loads->count)
		return OUTCOME_MOVED;
	s->set = node_at(&s->t, s->t.winner);
	weigh(s);
	return s->set == s->home ? OUTCOME_HIT : OUTCOME_MOVED;
}

/* LARD with replication. */
static __always_inline enum outcome choose_replica(struct search *s, struct ov_bucket *b)
{
	__u64 stored = b->nodes;
	enum outcome outcome = OUTCOME_HIT;

	s->set = stored;
	weigh(s);
	if (s->least == NOBODY)
		outcome = stand_in(s);
	if (is_overloaded(s))
		return grow(s, b, stored) ? OUTCOME_GROWN : outcome;
	s->t.winner = s->least;
	return shrink(s, b, stored) ? OUTCOME_SHRUNK : outcome;
}

/* Who gets the request whose key has this hash, and the account of it; UNDECIDED if no
 * node may be picked. */
static __always_inline __u32 pick_by_locality(struct ov_service *svc, struct ov_rules *rules, __u64 hash)
{
	struct search s = { .rules = rules, .row = hash & (SLOT_COUNT - 1) };
	__u32 id = svc->id, bucket = id * LOCALITY_BUCKETS + (hash & (LOCALITY_BUCKETS - 1));
	struct ov_bucket *b = bpf_map_lookup_elem(&localities, &bucket);
	enum outcome outcome;

	if (!b || !gather(&s.t, svc))
		return UNDECIDED;
	s.homes = bpf_map_lookup_elem(&source_hash, &id);
	s.home = s.homes ? s.homes->node[s.row] : UNDECIDED;
	outcome = svc->policy == POLICY_BOUNDED_HASH ? choose_bounded(&s) : choose_replica(&s, b);
	if (s.t.winner >= s.t.loads->count)
		return UNDECIDED;
	__sync_fetch_and_add(&b->requests, 1);
	count_outcome(id, outcome);
	return commit(&s.t);
}

#endif
