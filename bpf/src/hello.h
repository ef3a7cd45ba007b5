/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hello.h - the server's name in a TLS ClientHello (RFC 8446, 4.1.2; RFC 6066, 3).
 * The oracle is scheduler.Key in Go.
 */
#ifndef ONEVIP_HELLO_H
#define ONEVIP_HELLO_H

#include "bytes.h"

#define RECORD_HEADER 5	   /* type, version, length */
#define HANDSHAKE_HEADER 4 /* type, length */
#define SESSION_ID 43	   /* behind version and random */

/* A walk along a hello, as far as its first record and what is looked at go. */
struct hello {
	struct ov_look *l;
	__u32 whole; /* where it ends */
	__u32 limit; /* up to where there is something to look at */
	__u32 end;   /* of the extension */
	__u32 why;
};

/* There should be something at the limit: a hello that is all there is malformed;
 * else the rest is in another segment, or record. */
static __always_inline int over(const struct hello *h)
{
	return h->limit == h->whole ? F_NOT_TLS : h->l->cut;
}

static __always_inline int start_hello(struct hello *h)
{
	struct ov_look *l = h->l;
	__u32 record;

	if (l->len < RECORD_HEADER + HANDSHAKE_HEADER)
		return l->cut;
	if (byte_at(l, 0) != 22 || byte_at(l, 1) != 3 || byte_at(l, 5) != 1)
		return F_NOT_TLS;
	record = RECORD_HEADER + number_at(l, 3);
	h->whole = RECORD_HEADER + HANDSHAKE_HEADER + ((__u32)byte_at(l, 6) << 16 | number_at(l, 7));
	h->limit = h->whole < record ? h->whole : record;
	if (h->limit > l->len)
		h->limit = l->len;
	l->at = SESSION_ID;
	return INSPECTED;
}

/* Goes over a field that begins with its length, of one byte or two. */
static __always_inline int skip_field(struct hello *h, __u32 size)
{
	struct ov_look *l = h->l;

	if (l->at + size > h->limit)
		return over(h);
	l->at += size + (size == 1 ? byte_at(l, l->at) : number_at(l, l->at));
	return INSPECTED;
}

/* Leaves `at` at the first extension. TLS 1.2 allows that there is none. */
static __always_inline int to_extensions(struct hello *h)
{
	struct ov_look *l = h->l;
	int why = skip_field(h, 1); /* session id */

	if (!why)
		why = skip_field(h, 2); /* cipher suites */
	if (!why)
		why = skip_field(h, 1); /* compression methods */
	if (why)
		return why;
	if (l->at == h->whole)
		return F_NO_KEY;
	if (l->at + 2 > h->limit)
		return over(h);
	if (l->at + 2 + number_at(l, l->at) != h->whole)
		return F_NOT_TLS;
	l->at += 2;
	return INSPECTED;
}

/* Stops at the extension that has the name, behind its header. */
static long next_extension(__u32 i, struct hello *h)
{
	struct ov_look *l = h->l;
	__u32 kind;

	h->why = F_NO_KEY;
	if (l->at >= h->whole)
		return 1;
	h->why = over(h);
	if (l->at + 4 > h->limit)
		return 1;
	kind = number_at(l, l->at);
	h->end = l->at + 4 + number_at(l, l->at + 2);
	h->why = F_NOT_TLS;
	if (h->end > h->whole)
		return 1;
	l->at += 4;
	h->why = INSPECTED;
	if (kind == 0)
		return 1;
	l->at = h->end;
	return 0;
}

/* The list of names has one: a second must be of another type, and there is none. */
static __always_inline int take_name(struct hello *h)
{
	struct ov_look *l = h->l;
	__u32 name = l->at + 5; /* behind the list's length, the name's type and length */
	__u32 len;

	if (name > h->end)
		return F_NOT_TLS;
	if (name > h->limit)
		return over(h);
	len = number_at(l, l->at + 3);
	if (byte_at(l, l->at + 2) != 0 || len == 0)
		return F_NO_KEY;
	if (name + len > h->end)
		return F_NOT_TLS;
	if (name + len > h->limit)
		return over(h);
	l->host.at = name;
	l->host.len = len;
	return INSPECTED;
}

static __noinline int find_server_name(struct ov_look *l)
{
	struct hello h = { .l = l };
	int why = start_hello(&h);

	if (!why)
		why = to_extensions(&h);
	if (why)
		return why;
	bpf_loop(LOOKED_AT, next_extension, &h, 0);
	return h.why ? h.why : take_name(&h);
}

#endif
