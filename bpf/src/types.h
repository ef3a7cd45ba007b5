/* SPDX-License-Identifier: GPL-2.0 */
/*
 * types.h - what the maps hold. bpf2go emits the Go side; nothing is written twice.
 *
 * Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d, so that one
 * map serves both families. Padding is explicit and zero.
 */
#ifndef ONEVIP_TYPES_H
#define ONEVIP_TYPES_H

#include "siphash.h"

#define SLOT_COUNT 1024
#define NODE_COUNT 256	  /* node ids are a byte; 0 and 255 are nobody */
#define INLINE_VIPS 8	  /* VIPs per family that are compared without a map */
#define INLINE_SERVICES 8 /* VIP and port pairs, likewise */
#define NO_INLINE 0xffffffff
#define UNDECIDED 0
#define LOCALITY_BUCKETS 4096 /* of keys, for each service */
#define MAX_HEADER_NAME 32

enum policy {
	POLICY_LEAST_CONNECTION = 1,
	POLICY_ROUND_ROBIN = 2,
	POLICY_SOURCE_HASH = 3,
	POLICY_LOCALITY = 4,	 /* this and the next: the first request decides */
	POLICY_BOUNDED_HASH = 5,
};

union ov_addr {
	__u32 words[4];
	__u64 halves[2];
};

/* A connection, seen from either side of the wire. 40 bytes. */
struct ov_flow {
	union ov_addr client;
	union ov_addr vip;
	__be16 client_port;
	__be16 vip_port;
	__u32 pad;
};

struct ov_service_key {
	union ov_addr vip;
	__be16 port;
	__u16 pad[3];
};

struct ov_service {
	__u32 id;     /* index into loads, assigned, adopted, conns, source_hash, rules */
	__u32 policy; /* enum policy */
	__u32 replay; /* 1: a request may run twice */
	__u32 pad;
};

/* The part of the first request that says what it wants. */
enum key_kind {
	KEY_PATH = 1,
	KEY_PATH_PREFIX,
	KEY_HOST_PATH,
	KEY_HEADER,
	KEY_TLS_SNI,
};

/* How the first request of a connection names its owner. All zero for a service whose
 * policy does not look at it. */
struct ov_rules {
	__u64 silent; /* in nanoseconds: when the SYN/ACK goes out again to a silent client */
	__u64 decay;  /* likewise: a bucket's nodes stay for so long until one is let go */
	__u32 low;    /* connections per unit of weight */
	__u32 high;
	__u32 bound;	/* of bounded-hash, in 1/1024 of the average load */
	__u32 key;	/* enum key_kind */
	__u32 segments; /* of KEY_PATH_PREFIX */
	__u32 close;	/* 1: a silent client is reset */
	__u32 name_len; /* of KEY_HEADER */
	__u32 pad;
	__u8 name[MAX_HEADER_NAME]; /* in lower case */
};

#define LOOKED_AT 3072	/* bytes of a first request, at most: two segments, merged */
#define LOOK_ROOM 4096	/* the next power of two: so a place is kept within bounds */
#define SAMPLE_SIZE 48	/* of a key's text */

struct ov_span {
	__u32 at;
	__u32 len;
};

/* A first request, as far as it is looked at: where we are in it, and where its key
 * stands, which is the host in lower case and then the path; either may be empty. In a
 * map also because the verifier then takes all of it for unknown, as it is, and does
 * not follow each length of a word by itself. */
struct ov_look {
	__u8 bytes[LOOK_ROOM + 8]; /* words are read at any place */
	__u32 at;
	__u32 len; /* at most LOOKED_AT */
	__u32 cut; /* enum fallback: what it means if that ends too early */
	__u32 pad;
	struct ov_span host;
	struct ov_span path;
	struct sip sip; /* of the key, up to hashed bytes of it */
	__u64 rest;	/* the last hashed % 8 */
	__u64 hashed;
};

struct ov_sample {
	__u8 text[SAMPLE_SIZE]; /* printable; zeros behind it */
};

/* The nodes that a bucket of keys has got beside its home or in its stead. */
struct ov_bucket {
	__u64 nodes;   /* 8 ids, 0: an empty place; changed by compare and swap only */
	__u64 changed; /* CLOCK_MONOTONIC, in nanoseconds */
	__u64 requests;
};

/* The counters of one service in map inspected: enum outcome of locality.h from 0, enum
 * fallback of fallback.h from OUTCOME_FALLBACK on. */
#define OUTCOME_FALLBACK 8
#define OUTCOME_ROOM 32

/* What an inspector has decided for a handshake that names it. */
struct ov_handover {
	__u64 decision;	 /* the client's ISN, the owner from bit 32 on, 255: closed; changed at once */
	__u32 first_ack; /* what the client acknowledges until the owner speaks */
	__u32 superseded; /* 1: the tuple was seen in use again */
};

struct ov_inline_service {
	struct ov_service_key key;
	struct ov_service service;
};

/* One SipHash-2-4 key; `valid` is 0 for a key that must not be used. */
struct ov_key {
	__u64 k0;
	__u64 k1;
	__u32 epoch;
	__u32 valid;
};

/* All that changes rarely. Two banks; ov_globals names the one in force. */
struct ov_config {
	__u32 self;	   /* our node id; 0: not known yet */
	__u32 window_scale; /* the cluster's */
	__u32 epoch;	   /* cookies are issued under keys[epoch & 3] */
	__u32 lifetime;	   /* of a cookie at most, in seconds */
	__u16 mss4;	   /* what our interface takes */
	__u16 mss6;
	__u16 vip4_count; /* of vip4; the rest, if any, is in map vips */
	__u16 vip6_count;
	__u32 more_vips; /* 1: look into map vips too */
	__u32 service_count; /* of services; NO_INLINE: they are in map services only */
	__u32 stood_down; /* 1: declared failed, nothing for a VIP goes in or out */
	__u32 failed;	  /* bank of map failed in force */
	__u64 cleared;	  /* failure epoch up to which this boot destroyed its sockets */
	struct ov_key keys[4]; /* by the low two bits of their epoch */
	__be32 vip4[INLINE_VIPS];
	union ov_addr vip6[INLINE_VIPS];
	struct ov_inline_service services[INLINE_SERVICES];
	__u64 suspected[NODE_COUNT / 64]; /* by node id, a bit each: these don't answer SYNs */
	__u64 delay;	  /* in nanoseconds: how long a secondary waits for its primary */
	__u32 speculates; /* 0: a secondary does not answer */
	__u8 mac[6];	  /* of our interface */
	__u8 inspects;	  /* 1: a service's policy looks at requests, or did */
	__u8 pad;
	__u32 spread;	  /* schedulers that assign as this node does, 1 to SLOT_COUNT */
	__u8 watch[SLOT_COUNT]; /* whose connections this node guards, by slot; watch.go */
};

struct ov_slots {
	__u8 primary[SLOT_COUNT];
	__u8 secondary[SLOT_COUNT];
	__u8 former[SLOT_COUNT]; /* the primary before: answers too until all know the new one */
};

/* Which bank is in force: one word each, so a change takes effect at once. */
struct ov_globals {
	__u32 config;
	__u32 slots;
	__u32 pulse; /* when the agent was alive, in seconds (CLOCK_MONOTONIC); 0: none yet */
	__u32 pad;
};

/* A node that may be picked for a service; see Load in api.go. */
struct ov_load {
	__u64 settled;
	__u64 base;
	__u32 active;
	__u16 weight; /* never 0 */
	__u8 node;
	__u8 pad;
};

struct ov_loads {
	__u64 count;
	struct ov_load nodes[NODE_COUNT];
	__u8 place[NODE_COUNT]; /* of a node among them, by its id; nodes[] says if it is there */
	__u64 generation; /* grows with each installation; written last */
};

/* The tournament among them; see schedule.h. */
struct ov_tree {
	__u64 generation;
	__u32 policy;
	__u32 leaves; /* a power of two */
	__u8 winner[NODE_COUNT];
	__u64 load;   /* of all nodes together, under bounded-hash */
	__u64 weight; /* likewise */
};

/* Counters by node id. */
struct ov_by_node {
	__u64 count[NODE_COUNT];
};

struct ov_source_hash {
	__u8 node[SLOT_COUNT];
};

/* Sockets of one service. */
struct ov_conns {
	__u64 opened;
	__u64 closed;
};

struct ov_member {
	__u8 mac[6];
	__u16 known;
};

/* The SYN of a client without timestamps: its SYN/ACK can't carry these. */
struct ov_syn_key {
	struct ov_flow flow;
	__u32 isn;
	__u32 pad;
};

/* What a SYN offered and its SYN/ACK granted. */
struct ov_options {
	__u8 wscale; /* the client's; NO_WSCALE: it has none */
	__u8 sack;
	__u8 ecn;
	__u8 mss_index;
};

/* A connection whose socket is gone: a tombstone. Sequence numbers are the
 * client's. */
struct ov_tombstone {
	__u32 isn;
	__u32 rcv_nxt;	  /* where it ended */
	__u32 superseded; /* 1: the tuple was seen in use again */
	__u32 self;	  /* the id that this node had then */
};

/* TCP options of a SYN, or the timestamps of any segment. */
struct options {
	__u32 tsval;
	__u32 tsecr;
	__u16 mss; /* 0: none given */
	__u8 wscale;
	__u8 sack;
	__u8 timestamps;
	__u8 pad[3];
};

#define ETHERNET_SIZE 14
#define AWAITING_PLACES 16384
#define CLOCK_COUNT 16
#define CLOCK_PLACES (AWAITING_PLACES / CLOCK_COUNT)
#define FRAME_SIZE 96 /* the longest SYN/ACK of ours is 94 */

enum place_state {
	PLACE_FREE,
	PLACE_WAITS,
	PLACE_ANSWERED, /* the time was up, and the secondary has answered */
	PLACE_BUSY, /* filled in or answered just now: nobody else touches it */
};

/* A SYN that its slot's primary should answer: all that the secondary needs if
 * nothing is seen of that. */
struct ov_awaiting {
	struct ov_syn_key key; /* whose place this is, unless it is free */
	__u64 due;   /* CLOCK_MONOTONIC, in nanoseconds: until when it waits, or is remembered */
	__u32 taken; /* enum place_state */
	struct options syn;
	__u8 ethernet[ETHERNET_SIZE]; /* the SYN's header */
	__u8 v6;
	__u8 ecn_setup;
	__u8 primary; /* that it waits for: the slot may move meanwhile */
	__u8 pad[3];
};

/* What wakes the SYNs in the places that have this clock's number as their highest
 * bits. */
struct ov_clock {
	struct bpf_timer timer;
	__u64 waiting[CLOCK_PLACES / 64]; /* the places with a SYN that waits */
	__u32 armed; /* 1: the timer runs, or what it calls */
	__u32 pad;
};

/* A SYN/ACK that named us, while there is no socket. */
struct ov_unheard {
	__u64 at;     /* when, or since when the client is connected; CLOCK_MONOTONIC, in nanoseconds */
	__u32 isn;    /* the client's */
	__u32 answer; /* the cookie in it */
	__u16 len;
	__u16 connected; /* 1: the client has acknowledged it to its inspector */
	__u32 silent; /* of an inspector's: milliseconds until it is sent again; else 0 */
	__u8 frame[FRAME_SIZE]; /* as it is to be sent again */
};

/* What may be kept of the connections with one hash, so that others are spared
 * the look into those maps. Collisions only cost that look. */
struct ov_trace {
	__u32 closed;  /* tombstones: the second in which one closed last */
	__u32 awaited; /* awaiting: the tick until which there may be one */
	__u32 unheard; /* likewise */
	__u32 handed;  /* likewise: until then what follows a handed segment is sent after it */
};

/* To the agent: something to do that no BPF program can. */
struct ov_notice {
	__u64 at; /* CLOCK_MONOTONIC, in nanoseconds */
	__u32 kind;
	__u32 len; /* of frame */
	struct ov_flow flow;
	__u8 primary; /* of the flow's slot, when its SYN came */
	__u8 owner;
	__u8 pad[6];
	__u8 frame[FRAME_SIZE];
};

/* In ov_config.watch beside node ids. The node's own id: nobody's, but it acts there
 * for one that has failed. */
#define WATCH_NOBODY 0
#define WATCH_ALL 255

enum guard_flag {
	GUARD_NAMED = 1,      /* owner and isn are those of a valid cookie, or of its inspector */
	GUARD_NUMBERED = 2,   /* ack and seq are those of a segment */
	GUARD_DATA = 4,	      /* the client sent data, or may have */
	GUARD_TIMESTAMPS = 8,
	GUARD_FIN = 16, /* the client has closed its side */
	GUARD_INSPECTED = 32, /* isn is of a valid cookie, which names the inspector */
};

/* A connection of another node, as its guard saw the client's segments last. */
struct ov_guarded {
	__u32 isn; /* the client's */
	__u32 ack; /* the highest: what the client expects of the owner next */
	__u32 seq; /* what the owner should expect of the client next */
	__u32 tsval;
	__u32 tsecr;
	__u32 seen;    /* seconds of CLOCK_MONOTONIC */
	__u32 noticed; /* likewise: when the agent was last told that it is a stray */
	__u8 mac[6];   /* the client's, or its gateway's; zero: not known */
	__u8 owner;    /* UNDECIDED: not known */
	__u8 flags;    /* enum guard_flag */
	__u8 inspector;
	__u8 pad[3];
};

/* What anybody can send, so that only so much of it is kept in a second. */
enum pace {
	PACE_UNKNOWN,	/* records of connections that nobody here knows (guard.h) */
	PACE_INSPECTED, /* SYN/ACKs of an inspector (unheard.h) */
	PACE_COUNT,
};

/* How often something was done in a second. */
struct ov_pace {
	__u32 second; /* of CLOCK_MONOTONIC */
	__u32 times;
};

/* For which failed and fenced nodes does this node act, by their id, as guard, one
 * bit a slot? Under UNDECIDED: for any of them. */
struct ov_failed {
	__u8 acts[NODE_COUNT][SLOT_COUNT / 8];
	__u8 heir[SLOT_COUNT / 8]; /* the guard died too: of its slots we have not seen all */
};

/* How often an invariant was seen broken, and what showed it last: the client's packet. */
struct ov_tally {
	__u64 count;
	__u64 at; /* CLOCK_MONOTONIC, in nanoseconds */
	struct ov_flow flow;
	__u32 seq;
	__u32 ack_seq;
	__u32 interface; /* that it came by; 0: not known */
	__u8 flags; /* as in the TCP header: FIN is 1, ACK is 16 */
	__u8 pad[3];
};

/* Put on a socket whose tuple saw a SYN: the ISN of the client's new attempt. */
struct ov_mark {
	__u32 isn;
	__u32 marked;
};

#endif
