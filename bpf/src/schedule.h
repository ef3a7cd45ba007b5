/* SPDX-License-Identifier: GPL-2.0 */
/*
 * schedule.h - who owns a new connection? The oracle is scheduler.Pick in Go;
 * a test compares both on random tables. Where a key in the request decides,
 * locality.h does, and commits its picks here.
 */
#ifndef ONEVIP_SCHEDULE_H
#define ONEVIP_SCHEDULE_H

#include "flow.h"
#include "siphash.h"

/* So that products with a 16-bit weight stay in 64 bits. */
#define MAX_LOAD ((1ULL << 48) - 1)

static __always_inline __u64 clamped_diff(__u64 a, __u64 b)
{
	__u64 diff = a > b ? a - b : 0;

	return diff > MAX_LOAD ? MAX_LOAD : diff;
}

/* What a node is judged by. */
struct standing {
	__u64 load;  /* active and in flight; 0 for round robin */
	__u64 share; /* assigned since base */
	__u64 weight;
};

#define NOBODY 255 /* no place in ov_loads: node ids are fewer */

/*
 * A tournament among the nodes of a service: each place holds the better one of
 * the two places below it, so that the best is known at once, and only its own
 * way up is played again when it was picked. Places are numbered as in a heap,
 * from 1, the leaves last. Between two installations of loads only the picks
 * change anything.
 *
 * CPUs that play at the same time may leave a winner that no longer is. It is
 * found out when it is picked, and by the next loads at the latest.
 */
struct tournament {
	struct ov_loads *loads;
	struct ov_by_node *assigned;
	struct ov_tree *tree;
	struct standing best;
	__u32 policy; /* enum policy */
	__u32 spread; /* what we assigned, others assigned too: see scheduler.Candidate */
	__u32 absent; /* a node that is not to be picked; UNDECIDED: none */
	__u32 place;  /* where `winner` stands */
	__u32 winner; /* index into loads->nodes */
};

static __always_inline bool is_better(const struct standing *a, const struct standing *b)
{
	__u64 mine = a->load * b->weight, other = b->load * a->weight;

	if (mine != other)
		return mine < other;
	return a->share * b->weight < b->share * a->weight;
}

/* What the node has or is about to have, if we assigned that many to it. */
static __always_inline __u64 load_after(struct tournament *t, struct ov_load *n, __u64 assigned)
{
	__u64 load = clamped_diff(assigned, n->settled);

	if (load > MAX_LOAD / SLOT_COUNT)
		load = MAX_LOAD / SLOT_COUNT;
	load = n->active + t->spread * load;
	return load > MAX_LOAD ? MAX_LOAD : load;
}

/* The standing of node i. */
static __always_inline void judge(struct tournament *t, __u32 i, struct standing *s)
{
	struct ov_load *n = &t->loads->nodes[i & (NODE_COUNT - 1)];
	__u64 assigned = t->assigned->count[n->node];

	s->weight = n->weight;
	s->share = clamped_diff(assigned, n->base);
	s->load = t->policy == POLICY_ROUND_ROBIN ? 0 : load_after(t, n, assigned);
}

/* The index of the node that holds a place. */
static __always_inline __u32 holder_of(struct tournament *t, __u32 place)
{
	__u32 leaves = t->tree->leaves;
	__u32 i = place >= leaves ? place - leaves : t->tree->winner[place & (NODE_COUNT - 1)];

	return i < t->loads->count ? i : NOBODY;
}

/* Plays t->winner against its neighbour; the one more to the left wins a draw. */
static __always_inline void play(struct tournament *t)
{
	__u32 rival = holder_of(t, t->place ^ 1);
	struct standing s;
	bool wins;

	if (rival != NOBODY) {
		judge(t, rival, &s);
		wins = t->place & 1 ? !is_better(&t->best, &s) : is_better(&s, &t->best);
		if (wins) {
			t->winner = rival;
			t->best = s;
		}
	}
	t->place /= 2;
	t->tree->winner[t->place & (NODE_COUNT - 1)] = t->winner;
}

/* All matches, from the last pair of places to the first. */
static long build(__u32 i, struct tournament *t)
{
	t->place = 2 * (t->tree->leaves - 1 - i);
	t->winner = holder_of(t, t->place);
	if (t->winner == NOBODY) {
		t->tree->winner[t->place / 2 & (NODE_COUNT - 1)] = NOBODY;
		return 0;
	}
	judge(t, t->winner, &t->best);
	play(t);
	return 0;
}

struct sum {
	struct tournament *t;
	__u64 load, weight;
};

static long add_up(__u32 i, struct sum *sum)
{
	struct standing s;

	judge(sum->t, i, &s);
	sum->load += s.load;
	sum->weight += s.weight;
	return 0;
}

/* Of all nodes together: what bounded-hash takes its bound from. */
static __always_inline void sum_up(struct tournament *t)
{
	struct sum sum = { .t = t };
	__u64 count = t->loads->count;

	bpf_loop(count < NODE_COUNT ? count : NODE_COUNT, add_up, &sum, 0);
	t->tree->load = sum.load;
	t->tree->weight = sum.weight;
}

/* After new loads, or under another policy. */
static __noinline void rebuild(struct tournament *t)
{
	__u64 generation = t->loads->generation;
	__u32 leaves = 1;

	for (int i = 0; i < 8; i++)
		if (leaves < t->loads->count)
			leaves *= 2;
	t->tree->leaves = leaves;
	t->tree->winner[1] = leaves == 1 ? 0 : NOBODY;
	bpf_loop(leaves - 1, build, t, 0);
	if (t->policy == POLICY_BOUNDED_HASH)
		sum_up(t);
	t->tree->policy = t->policy;
	t->tree->generation = generation;
}

/* A candidate of the table without the absent node. */
static long stand(__u32 i, struct tournament *t)
{
	struct standing s;

	if (t->loads->nodes[i & (NODE_COUNT - 1)].node == t->absent)
		return 0;
	judge(t, i, &s);
	if (t->winner == NOBODY || is_better(&s, &t->best)) {
		t->winner = i;
		t->best = s;
	}
	return 0;
}

/* Makes the best node the winner, and commits to nothing; false: nobody may be picked.
 * Where one is absent, the others are looked at one by one: rare. */
static __noinline bool find_best(struct tournament *t)
{
	__u64 count = t->loads->count;

	t->winner = t->tree->winner[1];
	if (t->absent != UNDECIDED) {
		t->winner = NOBODY;
		bpf_loop(count < NODE_COUNT ? count : NODE_COUNT, stand, t, 0);
	}
	return t->winner < count;
}

/* The winner is picked, the best one or another: counts it, and plays what it changes. */
static __noinline __u32 commit(struct tournament *t)
{
	struct ov_load *n = &t->loads->nodes[t->winner & (NODE_COUNT - 1)];
	__u32 node = n->node;
	__u64 was = __sync_fetch_and_add(&t->assigned->count[node & 0xff], 1);

	if (t->policy == POLICY_BOUNDED_HASH)
		__sync_fetch_and_add(&t->tree->load, load_after(t, n, was + 1) - load_after(t, n, was));
	t->place = t->tree->leaves + t->winner;
	judge(t, t->winner, &t->best);
	for (int i = 0; i < 8 && t->place > 1; i++)
		play(t);
	return node;
}

/* An agent that is silent for this long may hang with its server, or be dead: who
 * sees its heartbeats knows better how this node does than this node itself. */
#define PULSE_SECONDS 2

static __always_inline bool is_agent_silent(void)
{
	struct ov_globals *g = get_globals();

	return g && g->pulse && (__s32)(now_seconds() - g->pulse) > PULSE_SECONDS;
}

/* This node, if it should not pick itself. */
static __always_inline __u32 absentee(void)
{
	struct ov_config *cfg = is_agent_silent() ? get_config() : NULL;

	return cfg ? cfg->self : UNDECIDED;
}

/* A public constant: the table must be the same on all nodes, and the client
 * chooses its address anyway. scheduler.SourceBucket is the same in Go. */
#define SOURCE_K0 0x7320706976656e6fULL /* "onevip s" */
#define SOURCE_K1 0x317620656372756fULL /* "ource v1" */

static __always_inline __u32 source_bucket(const union ov_addr *client)
{
	struct sip s;

	sip_start(&s, SOURCE_K0, SOURCE_K1);
	if (is_v4(client))
		return sip_end(&s, client->words[3], 4) & (SLOT_COUNT - 1);
	sip_word(&s, client->halves[0]);
	sip_word(&s, client->halves[1]);
	return sip_end(&s, 0, 16) & (SLOT_COUNT - 1);
}

/* Where a bucket's node is absent, the next bucket's owner is. */
#define SOURCE_STEPS 64

static __always_inline __u32 pick_by_source(struct ov_by_node *assigned, __u32 id,
					    struct ov_flow *flow, __u32 absent)
{
	struct ov_source_hash *table = bpf_map_lookup_elem(&source_hash, &id);
	__u32 bucket = source_bucket(&flow->client);
	__u32 node = table ? table->node[bucket] : UNDECIDED, other;

	for (int i = 1; i < SOURCE_STEPS && table && absent != UNDECIDED && node == absent; i++) {
		other = table->node[(bucket + i) & (SLOT_COUNT - 1)];
		if (other != absent && other != UNDECIDED)
			node = other;
	}
	if (node != UNDECIDED)
		__sync_fetch_and_add(&assigned->count[node & 0xff], 1);
	return node;
}

/* May any node be picked? */
static __always_inline bool can_pick(const struct ov_service *svc)
{
	__u32 id = svc->id;
	struct ov_loads *table = bpf_map_lookup_elem(&loads, &id);

	return table && table->count;
}

/* The nodes that may be picked for a service, as they stand; false: there are none. */
static __always_inline bool gather(struct tournament *t, struct ov_service *svc)
{
	struct ov_config *cfg = get_config();
	__u32 id = svc->id;

	t->loads = bpf_map_lookup_elem(&loads, &id);
	t->assigned = bpf_map_lookup_elem(&assigned, &id);
	t->tree = bpf_map_lookup_elem(&trees, &id);
	if (!t->loads || !t->assigned || !t->tree || !t->loads->count)
		return false;
	t->policy = svc->policy;
	t->spread = cfg ? cfg->spread : 1;
	t->absent = t->loads->count > 1 ? absentee() : UNDECIDED;
	if (t->tree->generation != t->loads->generation || t->tree->policy != t->policy ||
	    t->tree->winner[1] >= t->loads->count)
		rebuild(t);
	return true;
}

/* The best node, and the account of it. */
static __always_inline __u32 best_of(struct ov_service *svc)
{
	struct tournament t = {};

	if (!gather(&t, svc) || !find_best(&t))
		return UNDECIDED;
	return commit(&t);
}

/* The owner of a new connection, and the account of it; UNDECIDED if no node
 * may be picked. */
static __noinline __u32 pick_owner(struct ov_service *svc, struct ov_flow *flow)
{
	__u32 id = svc->id;
	struct ov_by_node *counts;

	if (svc->policy != POLICY_SOURCE_HASH)
		return best_of(svc); /* one call less: their depth is bounded */
	counts = bpf_map_lookup_elem(&assigned, &id);
	return counts ? pick_by_source(counts, id, flow, absentee()) : UNDECIDED;
}

#endif
