/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handover.pml - one connection of a service where the first request decides, from
 * the client's choice of an inspector to the end of its owner. Four nodes: the slot's
 * primary, its secondary, and two others. Primary and secondary may both answer the
 * SYN; whose SYN/ACK the client takes is the inspector. Nodes may crash, or be failed
 * although they live, FAILURES in all; the network delays, repeats, reorders and loses.
 *
 *   spin -a handover.pml && gcc -O2 -o pan pan.c && ./pan
 *
 * Messages, fences and what is known of them are as in takeover.pml, with these
 * differences. The client says its first segment again and again: nothing that it
 * hears ends that. Who says no to who-has has taken, or lost, what was handed to it
 * before: both come by one queue; and that all have said no may be believed late.
 *
 * Not modelled: an inspector that is neither primary nor secondary, but the primary of
 * the table before; a copy of the client's data that only the guard does not get; and,
 * of a connection that was handed over because its client is silent, guards that never
 * learn of it: they are told each time that the SYN/ACK is sent again.
 *
 * Checked, after every step:
 *   I1  at most one unfenced node has a socket for the connection;
 *   I2  the owner is the one that its inspector chose, or the guard of a fenced
 *       inspector or owner;
 *   no guard resets what an unfenced node has;
 *   and a request that may not run twice does not (unless the environment says REPLAY=1).
 *
 * BROKEN=n there leaves one rule out, to show that the model would notice:
 *   1  an inspector decides once: whatever comes again goes the same way
 *   2  what is handed over is for an id: a node that is back under another leaves it
 *   3  an inspector tells its own guard too, not just the owner's
 *   4  that nobody has a connection counts only once its inspector is fenced
 *   5  a node remembers what it had and closed
 *   6  a guard waits for the fence
 *   7  a fence drops what the failed node hands over
 *   8  a request that the guard saw may have been run
 *
 * The filter (bpf/src/handover.h, guard.h) keeps 1 only while map `handovers` has room. With FAILURES=2 some four million states are searched.
 */
#define N 4
#define PRIMARY 0
#define SECONDARY 1
#define NOBODY 9

/* From the environment. */
hidden byte broken;
hidden byte replay;
hidden byte most;       /* failures */
c_code {
static int setting(const char *name, int otherwise)
{
	return getenv(name) ? atoi(getenv(name)) : otherwise;
}
}

bool alive[N] = true;   /* the machine runs */
bool sock[N];           /* its kernel has a socket for the connection */
bool had[N];            /* it got the request, and remembers that when the socket is gone */
bool failed[N];         /* the controller said so */
bool fenced[N];         /* and the switch drops what comes from it and goes to it */
bool away[N];           /* it is back under another id, or stays away */
byte place[N];          /* of the fence in etcd, where all read them in one order; 0: none */
byte fences;            /* so many there are */
byte read[N];           /* and so many of them the node has read */

byte inspector = NOBODY; /* chosen by the client, with the first SYN/ACK that came */
bool data;               /* the client's first request is about */
bool queued;             /* the inspector got a first segment, perhaps before its fence */
bool reset;              /* the client was told that it is over */
byte runs;               /* how often the request was run */
byte decided = NOBODY;   /* what the inspector remembers */
byte handed[N];          /* in the node's queue: 1 the bare ACK, 2 the request */
byte told[N] = NOBODY;   /* on its way to this guard: who the owner is */

/* What a guard has on record. */
#define NONE 0
#define QUIET 1 /* the client has sent no data */
#define ASKED 2 /* it has, or may have */
byte seen[N];
byte owner[N] = NOBODY;
bool named[N];          /* by the inspector; else other nodes said so, by their silence too */
byte accused[N] = NOBODY; /* nobody has the connection: then it was this failed node's */

byte failures;

hidden byte o, g, i, j;

#define MEMBER(n) (alive[n] && !away[n])
/* Packets of clients get to it, and from it to them. */
#define REACHED(n) (alive[n] && !fenced[n] && !away[n])

#define KNOWS(n, x) (broken == 6 -> failed[x] : place[x] && place[x] <= read[n])

#define MAY_BE_HANDED(n) (broken == 2 -> alive[n] : MEMBER(n))

/* The node with the records of what x owns, or inspects. */
#define GUARD(x) (x == SECONDARY -> PRIMARY : SECONDARY)
/* Who takes the place of one that is dead itself. */
#define MAY_INHERIT(h, x, n) (h != x && !KNOWS(n, h))
#define HEIR(x, n) (MAY_INHERIT(3, x, n) -> 3 : (MAY_INHERIT(2, x, n) -> 2 : (MAY_INHERIT(1, x, n) -> 1 : 0)))
/* The guards of the owner and of the inspector are told. */
#define TELLS(n) (n != decided && (n == GUARD(decided) || n == GUARD(inspector) && broken != 3))

/* Does n, as it sees it, act for x? */
#define ACTS(n, x) (KNOWS(n, x) && (KNOWS(n, GUARD(x)) -> HEIR(x, n) : GUARD(x)) == n)

inline check() {
	assert((sock[0] && !fenced[0]) + (sock[1] && !fenced[1]) +
	       (sock[2] && !fenced[2]) + (sock[3] && !fenced[3]) <= 1);
	assert(replay || runs <= 1)
}

/* n, whose socket has just come to be or gets the request now, runs it. */
inline serve(n) {
	runs = (runs < 2 -> runs + 1 : 2);
	had[n] = true /* it has: a duplicate does not run again here */
}

inline finish() {
	assert(!(sock[0] && !fenced[0]) && !(sock[1] && !fenced[1]) &&
	       !(sock[2] && !fenced[2]) && !(sock[3] && !fenced[3]));
	reset = true
}

/* n, who acts for x, asks all who has the connection. What the answers are worth when
 * they have come, is another matter: all say no at one moment, and are believed later. */
inline ask(n, x) {
	j = 0;
	do
	:: j < N && !(alive[j] && j != n && sock[j] && !KNOWS(n, j)) -> j++
	:: else -> break
	od;
	if
	:: j < N && !(named[n] && owner[n] != j && j != inspector) ->
		owner[n] = j; named[n] = false; seen[n] = ASKED
	:: j == N && (alive[0] || KNOWS(n, 0)) && (alive[1] || KNOWS(n, 1)) &&
	   (alive[2] || KNOWS(n, 2)) && (alive[3] || KNOWS(n, 3)) ->
		accused[n] = x;
		handed[0] = 0; handed[1] = 0; handed[2] = 0; handed[3] = 0
	:: else
	fi;
	j = 0
}

/* A guard takes a connection over; x was its inspector, or its owner. */
inline take_over(n, x) {
	assert(fenced[x] || away[x]);
	if
	:: !had[n] -> sock[n] = true; owner[n] = n; named[n] = true
	:: else
	fi;
	check()
}

/* on_young: its owner x has failed, or nobody had it when its inspector did. */
inline on_young(n, x) {
	if
	:: n == GUARD(x) && (replay || broken == 8 || seen[n] == QUIET) -> take_over(n, x)
	:: else -> finish()
	fi
}

/* on_uninspected: n acts for the inspector, and nobody told it of an owner. */
inline on_uninspected(n) {
	if
	:: owner[n] != NOBODY && !named[n] && !ACTS(n, owner[n]) /* a living node has it */
	:: n == GUARD(inspector) && owner[n] == NOBODY && seen[n] == QUIET -> take_over(n, inspector)
	:: else ->
		seen[n] = ASKED;
		ask(n, inspector)
	fi
}

#define MAY_TAKE(n) (named[n] || owner[n] == inspector || broken == 4)

/* The client's first segment comes to n, which has no socket and is not the inspector. */
inline guards(n) {
	if
	:: owner[n] != NOBODY && owner[n] != n && ACTS(n, owner[n]) && MAY_TAKE(n) -> o = owner[n]; on_young(n, o)
	:: owner[n] == n && !sock[n] && !had[n] -> sock[n] = true; check()
	:: else ->
		if
		:: ACTS(n, inspector) -> on_uninspected(n)
		:: else ->
			if
			:: data && (seen[n] || n == GUARD(inspector) || n == SECONDARY) -> seen[n] = ASKED
			:: !data && !seen[n] && (n == GUARD(inspector) || n == SECONDARY) -> seen[n] = QUIET
			:: else
			fi
		fi
	fi
}

/* What n is told of the owner x. What it took over is its own. */
inline note_owner(n, x) {
	if
	:: owner[n] != n ->
		owner[n] = x; named[n] = true;
		seen[n] = (data -> ASKED : (seen[n] -> seen[n] : QUIET))
	:: else
	fi
}

/* The inspector's own record, if it is the guard of what it decided. */
inline learn(n, guard) {
	if
	:: n == guard && decided != n -> note_owner(n, decided)
	:: else
	fi
}

/* While the client is silent, no record but this one keeps a guard from adopting: it is
 * told several times, which is modelled as one that is not lost. */
inline tell_now(n) {
	if
	:: TELLS(n) && n != inspector && !fenced[inspector] && REACHED(n) -> note_owner(n, decided)
	:: else
	fi
}

/* The request is about; guards that do not act yet have seen it. */
inline flood() {
	data = true;
	g = 0;
	do
	:: g < N ->
		if
		:: REACHED(g) && !sock[g] && (seen[g] || (g != inspector && (g == GUARD(inspector) || g == SECONDARY))) &&
		   !(owner[g] == NOBODY && ACTS(g, inspector)) && !(owner[g] != NOBODY && ACTS(g, owner[g])) -> seen[g] = ASKED
		:: else
		fi;
		g++
	:: else -> break
	od;
	g = 0
}

active proctype world() {
	c_code {
		broken = setting("BROKEN", 0);
		replay = setting("REPLAY", 0);
		most = setting("FAILURES", 1);
	}
	do
	/* The client takes one of the SYN/ACKs. */
	:: atomic { inspector == NOBODY ->
		select(i : 0 .. 1);
		inspector = i }

	/* It asks, now or later. */
	:: atomic { inspector != NOBODY && !data && !reset -> flood() }

	/* Its first segment comes to the inspector, and outlives the fence in its queue. */
	:: atomic { inspector != NOBODY && !reset && !queued && REACHED(inspector) -> queued = true }

	/* The inspector decides: by the request, or because the client says nothing. */
	:: atomic { queued && MEMBER(inspector) && decided == NOBODY && !had[inspector] && !sock[inspector] ->
		select(i : 0 .. 3);
		if
		:: !KNOWS(inspector, i) -> decided = i;
			learn(inspector, GUARD(i));
			if
			:: !data -> tell_now(GUARD(inspector)); tell_now(GUARD(i))
			:: else
			fi
		:: else
		fi }

	/* It tells the guards, each time that a first segment comes. */
	:: atomic { queued && decided != NOBODY && MEMBER(inspector) && !fenced[inspector] ->
		select(i : 0 .. 1);
		if
		:: i == inspector -> learn(i, GUARD(decided))
		:: i != inspector && TELLS(i) && !fenced[i] -> told[i] = decided
		:: else
		fi }
	:: atomic { select(i : 0 .. 3);
		if
		:: told[i] != NOBODY && MEMBER(i) ->
			o = told[i];
			told[i] = NOBODY;
			note_owner(i, o)
		:: else
		fi }

	/* It hands the segment over, or takes it. */
	:: atomic { queued && decided != NOBODY && decided != inspector && MEMBER(inspector) ->
		if
		:: (!fenced[inspector] || broken == 7) && !fenced[decided] -> handed[decided] = (data -> 2 : 1)
		:: else
		fi }
	:: atomic { queued && decided == inspector && MEMBER(inspector) && !sock[inspector] && !had[inspector] ->
		sock[inspector] = true; check() }
	:: atomic { broken == 1 && decided != NOBODY -> decided = NOBODY }

	/* The owner adopts. */
	:: atomic { select(i : 0 .. 3);
		if
		:: handed[i] && MAY_BE_HANDED(i) && !sock[i] && !had[i] ->
			sock[i] = true;
			if
			:: handed[i] == 2 -> serve(i)
			:: true
			fi;
			check()
		:: else
		fi }

	/* Whoever has a socket gets the request. */
	:: atomic { data && !reset ->
		select(i : 0 .. 3);
		if
		:: alive[i] && !fenced[i] && sock[i] && !had[i] -> serve(i); check()
		:: else
		fi }

	/* A connection ends; its node remembers that. */
	:: atomic { select(i : 0 .. 3);
		if
		:: sock[i] && had[i] -> sock[i] = false; had[i] = (broken != 5)
		:: else
		fi }

	/* The client's first segment comes to another node. */
	:: atomic { inspector != NOBODY && !reset ->
		select(i : 0 .. 3);
		if
		:: REACHED(i) && !sock[i] && i != inspector -> guards(i)
		:: REACHED(i) && !sock[i] && i == inspector && decided != NOBODY && ACTS(i, decided) -> guards(i)
		:: else
		fi }

	/* A sweep finds a record of nobody's. */
	:: atomic { inspector != NOBODY && fences ->
		select(i : 0 .. 3);
		select(j : 0 .. 3);
		if
		:: MEMBER(i) && seen[i] == ASKED && owner[i] == NOBODY && ACTS(i, j) -> o = j; ask(i, o)
		:: else
		fi }

	/* All have said no. */
	:: atomic { select(i : 0 .. 3);
		if
		:: accused[i] != NOBODY ->
			o = accused[i];
			accused[i] = NOBODY;
			if
			:: !sock[i] && !(named[i] && owner[i] != o && o != inspector) &&
			   !(owner[i] == inspector && o != inspector) ->
				owner[i] = o; named[i] = false; seen[i] = ASKED
			:: else
			fi
		:: else
		fi }

	/* A crash; or a failure, of a node that may well live. */
	:: atomic { failures < most ->
		select(i : 0 .. 3);
		if
		:: alive[i] && !away[i] -> alive[i] = false; sock[i] = false; had[i] = false; failures++;
			handed[i] = 0; told[i] = NOBODY; seen[i] = NONE; owner[i] = NOBODY; named[i] = false;
			accused[i] = NOBODY
		:: !failed[i] && !away[i] -> failed[i] = true; failures++
		:: else
		fi }
	:: atomic { select(i : 0 .. 3);
		if
		:: !alive[i] && !failed[i] && !away[i] -> failed[i] = true
		:: failed[i] && !place[i] -> fenced[i] = true; fences++; place[i] = fences; check()
		:: else
		fi }
	:: atomic { select(i : 0 .. 3);
		if
		:: MEMBER(i) && read[i] < fences -> read[i]++
		:: else
		fi }

	/* A failed node comes back as another, without its sockets. */
	:: atomic { select(i : 0 .. 3);
		if
		:: fenced[i] && !away[i] ->
			had[i] = had[i] || sock[i];
			sock[i] = false; alive[i] = true; away[i] = true; fenced[i] = false; handed[i] = 0;
			told[i] = NOBODY; seen[i] = NONE; owner[i] = NOBODY; named[i] = false;
			accused[i] = NOBODY;
			check()
		:: else
		fi }
	od
}
