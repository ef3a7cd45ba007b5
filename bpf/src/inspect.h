/* SPDX-License-Identifier: GPL-2.0 */
/*
 * inspect.h - which key does the request have? What a key is, for each kind:
 * docs/formats/key.md. The oracle is scheduler.Key in Go; a test compares both.
 */
#ifndef ONEVIP_INSPECT_H
#define ONEVIP_INSPECT_H

#include "hello.h"
#include "parse.h"
#include "request.h"

/* The key of the keys' hash: all inspectors agree. */
#define REQUEST_KEY0 0x7220706976656e6fULL /* "onevip r" */
#define REQUEST_KEY1 0x31762079656b7165ULL /* "eqkey v1" */

/* Copies the payload, of whatever part of the packet, to where it is looked at. */
static __always_inline int look_at(struct __sk_buff *skb, struct segment *seg, struct ov_look *l)
{
	__u32 len = seg->payload, at = seg->l4 + sizeof(struct tcphdr) + seg->options_len;

	l->cut = len > LOOKED_AT ? F_TOO_LONG : F_SHORT;
	if (len > LOOKED_AT)
		len = LOOKED_AT;
	if (len == 0 || bpf_skb_load_bytes(skb, at, l->bytes, len))
		return F_SHORT;
	l->len = len;
	l->at = 0;
	l->host.len = l->path.len = 0;
	return INSPECTED;
}

/* What is hashed next, from `at` on. */
struct piece {
	struct ov_look *l;
	__u32 end;
	__u32 fold; /* 1: letters in lower case */
};

static long hash_word(__u32 i, struct piece *p)
{
	struct ov_look *l = p->l;
	__u32 have = l->hashed & 7, n = p->end - l->at;
	__u64 word;

	if (l->at >= p->end)
		return 1;
	if (n > 8)
		n = 8;
	word = word_at(l, l->at);
	if (p->fold)
		word = lower(word);
	word &= mask_of(n);
	l->rest |= word << (have * 8);
	if (have + n >= 8) {
		sip_word(&l->sip, l->rest);
		l->rest = have ? word >> (64 - have * 8) : 0;
	}
	l->hashed += n;
	l->at += n;
	return 0;
}

static __always_inline void hash_span(struct ov_look *l, const struct ov_span *span, bool fold)
{
	struct piece p = { .l = l, .end = span->at + span->len, .fold = fold };

	l->at = span->at;
	bpf_loop(LOOKED_AT / 8, hash_word, &p, 0);
}

static __noinline __u64 hash_key(struct ov_look *l)
{
	sip_start(&l->sip, REQUEST_KEY0, REQUEST_KEY1);
	l->rest = l->hashed = 0;
	hash_span(l, &l->host, true);
	hash_span(l, &l->path, false);
	return sip_end(&l->sip, l->rest, l->hashed);
}

/* The hash of the key that `rules` ask for, if this segment has it; else why not, an
 * enum fallback. Not static: the verifier then looks at it once. */
__noinline int inspect(struct __sk_buff *skb, struct segment *seg, struct ov_rules *rules,
		       __u64 *hash)
{
	__u32 zero = 0;
	struct ov_look *l = bpf_map_lookup_elem(&looks, &zero);
	int why;

	if (!l || !seg || !rules || !hash)
		return F_SHORT;
	why = look_at(skb, seg, l);
	if (why)
		return why;
	why = rules->key == KEY_TLS_SNI ? find_server_name(l) : find_in_request(l, rules);
	if (!why)
		*hash = hash_key(l);
	return why;
}

#endif
