/* SPDX-License-Identifier: Apache-2.0 */
/*
 * takeover.pml - one connection, from its SYN to the end of its owner, as seen
 * by four nodes: the slot's primary, its secondary, and two others. Any node may
 * crash or be failed although it lives, two in all; the network delays, repeats,
 * reorders and loses.
 *
 *   spin -a takeover.pml && gcc -O2 -o pan pan.c && ./pan
 *
 * A message is a bit: once sent it may be delivered at any time, to any node,
 * any number of times, or never. Two things are not modelled: a copy of the
 * client's data that only the guard does not get (then it can not know that the
 * owner had it), and a guard that learns of a fence while it still has packets
 * queued from before it (fences count only after they have settled).
 *
 * Checked, after every step:
 *   I1  at most one unfenced node has a socket for the connection;
 *   I2  the owner is the one that the client's ACK named, or the guard of a
 *       fenced one;
 *   and a request that may not run twice does not (unless the environment says REPLAY=1).
 *
 * BROKEN=n there leaves one rule out, to show that the model would notice:
 *   1  a guard acts on a failure that is not fenced yet
 *   2  a node comes back without destroying its sockets
 *   3  a guard that took over from a dead guard adopts as if it had the records
 *   4  a guard takes over from another that is not fenced yet (with REPLAY=1)
 */
#define N 4
#define PRIMARY 0
#define SECONDARY 1
#define NOBODY 9

bool alive[N] = true;   /* the machine runs */
bool sock[N];           /* its kernel has a socket for the connection */
bool failed[N];         /* the controller said so */
bool fenced[N];         /* and the switch drops what comes from it and goes to it */
bool away[N];           /* under this id nobody is a member any more */
bool saw_data[N];       /* as a guard: the client sent something */
byte place[N];          /* of the fence in etcd, where all read them in one order; 0: none */
byte fences;            /* so many there are */
byte read[N];           /* and so many of them the node has read */
bool queued_ack[N];     /* in the node's queue since before its fence */

bool syn_ack[N];        /* a SYN/ACK that names this owner is about */
bool data;              /* so is the client's first request */
byte chosen = NOBODY;   /* by the client, with the first SYN/ACK that came */
bool reset;             /* the client was told that it is over */
bool ran[N];            /* the node ran the request */
byte failures;          /* at most two */

hidden byte o, g, h, i;

/* From the environment. */
hidden byte broken;
hidden byte replay;
c_code {
static int setting(const char *name)
{
	return getenv(name) ? atoi(getenv(name)) : 0;
}
}

#define MEMBER(n) (alive[n] && !away[n])
/* Packets of clients get to it, and from it to them. */
#define REACHED(n) (alive[n] && !fenced[n] && !away[n])

#define KNOWS(n, x) (place[x] && place[x] <= read[n])

#define MAY_ACT_ON(n, x) (broken == 1 -> failed[x] : KNOWS(n, x))
#define IS_REPLACED(n, x) (broken == 4 -> failed[x] : KNOWS(n, x))

/* The node with the records of the owner's connection. */
inline guard_of(owner) { g = (owner == SECONDARY -> PRIMARY : SECONDARY) }

/* Who acts for `owner`, as node n sees it: the guard, or the first one left. */
inline heir_of(owner, n) {
	guard_of(owner);
	h = g;
	if
	:: IS_REPLACED(n, g) ->
		h = 0;
		do
		:: h < N && (h == owner || IS_REPLACED(n, h) || failed[h]) -> h++
		:: else -> break
		od
	:: else
	fi
}

inline check() {
	d_step {
		assert((sock[0] && !fenced[0]) + (sock[1] && !fenced[1]) +
		       (sock[2] && !fenced[2]) + (sock[3] && !fenced[3]) <= 1);
		assert(replay || ran[0] + ran[1] + ran[2] + ran[3] <= 1)
	}
}

/* A socket comes to be at n; it may be the named owner's, or a fenced one's guard's. */
inline adopt(n) {
	assert(n == chosen || fenced[chosen] || away[chosen]);
	sock[n] = true
}

/* The client's copies reach the guard's records when they are flooded. */
inline flood_data() {
	guard_of(chosen);
	if
	:: REACHED(g) -> saw_data[g] = true
	:: else
	fi
}

inline pick(n, condition) {
	n = 0;
	do
	:: n < N && condition -> break
	:: n < N -> n++
	:: n >= N -> break
	od
}

active proctype world() {
	c_code {
		broken = setting("BROKEN");
		replay = setting("REPLAY");
	}
	do
	/* Primary and secondary may both answer, with any owner, at any time. */
	:: atomic { chosen == NOBODY && (REACHED(PRIMARY) || REACHED(SECONDARY)) ->
		select(o : 0 .. 3);
		if
		:: !away[o] && !fenced[o] -> syn_ack[o] = true
		:: else
		fi }

	/* The client takes the first SYN/ACK; what comes later changes nothing. */
	:: atomic { chosen == NOBODY ->
		pick(o, syn_ack[o]);
		if
		:: o < N -> chosen = o; syn_ack[0] = false; syn_ack[1] = false; syn_ack[2] = false; syn_ack[3] = false
		:: else
		fi }

	/* Its ACK reaches a node's queue, which outlives the fence. */
	:: atomic { chosen != NOBODY && !reset && REACHED(chosen) && !queued_ack[chosen] -> queued_ack[chosen] = true }
	:: atomic { chosen != NOBODY && !reset && !data -> data = true; flood_data() }

	/* The named owner adopts. */
	:: atomic { chosen != NOBODY && MEMBER(chosen) && queued_ack[chosen] && !sock[chosen] && !ran[chosen] ->
		adopt(chosen); check() }

	/* The owner gets the request and runs it. */
	:: atomic { chosen != NOBODY && data && !reset && REACHED(chosen) && sock[chosen] && !ran[chosen] ->
		ran[chosen] = true; check() }

	/* Somebody else, with the owner fenced: adopt, or reset. */
	:: atomic { chosen != NOBODY && !reset && (failed[chosen]) ->
		select(i : 0 .. 3);
		if
		:: i != chosen && REACHED(i) && !sock[i] && MAY_ACT_ON(i, chosen) ->
			heir_of(chosen, i);
			if
			:: h != i
			:: h == i && (replay || !saw_data[i] && (h == g || broken == 3)) -> adopt(i); check()
			:: h == i && !replay && (saw_data[i] || h != g && broken != 3) -> reset = true
			fi
		:: else
		fi }

	/* The heir gets the request. */
	:: atomic { chosen != NOBODY && data && !reset ->
		select(i : 0 .. 3);
		if
		:: i != chosen && REACHED(i) && sock[i] -> ran[i] = true; check()
		:: else
		fi }

	/* A crash; or a failure, of a node that may well live. */
	:: atomic { failures < 2 ->
		select(i : 0 .. 3);
		if
		:: alive[i] && !away[i] -> alive[i] = false; sock[i] = false; failures++
		:: !failed[i] && !away[i] -> failed[i] = true; failures++
		:: else
		fi }
	:: atomic { select(i : 0 .. 3);
		if
		:: !alive[i] && !failed[i] -> failed[i] = true
		:: failed[i] && !place[i] -> fenced[i] = true; fences++; place[i] = fences; check()
		:: else
		fi }
	:: atomic { select(i : 0 .. 3);
		if
		:: MEMBER(i) && read[i] < fences -> read[i]++
		:: else
		fi }

	/* A failed node that lives destroys its sockets, and comes back as another. */
	:: atomic { select(i : 0 .. 3);
		if
		:: alive[i] && fenced[i] && !away[i] ->
			sock[i] = sock[i] && broken == 2;
			queued_ack[i] = false; away[i] = true; fenced[i] = false; check()
		:: else
		fi }
	od
}
