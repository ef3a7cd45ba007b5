/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cookie.h - the sequence number (and timestamp) of our SYN/ACK, which carry
 * all that the owner must know to make the socket. docs/formats/cookie.md. Where the
 * first request decides, they name its inspector in place of the owner.
 *
 *   ISN    owner (8) | MSS index (3) | epoch (2) | MAC (19)
 *   TSval  more MAC (26) | ECN (1) | SACK (1) | window scale (4)
 */
#ifndef ONEVIP_COOKIE_H
#define ONEVIP_COOKIE_H

#include "parse.h"
#include "service.h"
#include "siphash.h"

#define ISN_MAC_BITS 19
#define ISN_MAC_MASK ((1U << ISN_MAC_BITS) - 1)
#define TS_OPTION_BITS 6
#define TS_MAC_MASK ((1U << (32 - TS_OPTION_BITS)) - 1)

/* What a cookie says, and what its MAC covers beyond the flow. */
struct cookie {
	__u32 client_isn;
	__u32 epoch; /* in full */
	__u32 owner;
	struct ov_options opt;
	__u8 timestamps; /* opt travels in TSval; else in a SYN record */
	__u8 inspect;	 /* owner is the inspector */
	__u8 pad[2];
};

static __always_inline __u32 cookie_owner(__u32 isn)
{
	return isn >> 24;
}

/* The largest entry that does not exceed the client's MSS is granted. */
static __always_inline __u16 mss_of(__u32 index)
{
	switch (index & 7) {
	case 0:
		return 536; /* RFC 9293, 3.7.1 */
	case 1:
		return 1220; /* IPv6 minimum MTU */
	case 2:
		return 1300;
	case 3:
		return 1360;
	case 4:
		return 1400;
	case 5:
		return 1440;
	case 6:
		return 1460;
	}
	return 8940; /* 9000-byte jumbo frames, IPv6 */
}

static __always_inline __u8 mss_index_of(__u16 mss)
{
	__u8 index = 0;

	for (int i = 1; i < 8; i++)
		if (mss >= mss_of(i))
			index = i;
	return index;
}

static __always_inline __u32 option_bits(const struct ov_options *opt)
{
	return (opt->wscale & 15) | (opt->sack & 1) << 4 | (opt->ecn & 1) << 5;
}

static __always_inline void set_option_bits(struct ov_options *opt, __u32 bits)
{
	opt->wscale = bits & 15;
	opt->sack = bits >> 4 & 1;
	opt->ecn = bits >> 5 & 1;
}

/* All 64 bits of the MAC: the low 19 go into the ISN, the next 26 into TSval. */
static __noinline __u64 cookie_mac(struct ov_key *key, struct ov_flow *f, struct cookie *c)
{
	struct sip s;
	__u64 len = 48;

	sip_start(&s, key->k0, key->k1);
	if (is_v4(&f->client)) {
		sip_word(&s, (__u64)f->client.words[3] | (__u64)f->vip.words[3] << 32);
		len = 24;
	} else {
		sip_word(&s, f->client.halves[0]);
		sip_word(&s, f->client.halves[1]);
		sip_word(&s, f->vip.halves[0]);
		sip_word(&s, f->vip.halves[1]);
	}
	sip_word(&s, (__u64)f->client_port | (__u64)f->vip_port << 16 | (__u64)c->client_isn << 32);
	sip_word(&s, (__u64)c->epoch | (__u64)c->owner << 32 | (__u64)c->opt.mss_index << 40 |
			     (__u64)option_bits(&c->opt) << 48 |
			     (__u64)(c->timestamps | c->inspect << 1) << 56);
	return sip_end(&s, 0, len);
}

static __always_inline __u32 cookie_isn(const struct cookie *c, __u64 mac)
{
	return c->owner << 24 | (__u32)c->opt.mss_index << 21 |
	       (c->epoch & 3) << ISN_MAC_BITS | (mac & ISN_MAC_MASK);
}

static __always_inline __u32 cookie_tsval(const struct cookie *c, __u64 mac)
{
	return ((mac >> ISN_MAC_BITS) & TS_MAC_MASK) << TS_OPTION_BITS | option_bits(&c->opt);
}

#define COOKIE_VALID (-1)
#define COOKIE_INSPECT (-2) /* valid, and names the inspector */

/* The options that the SYN/ACK granted: from the echoed timestamp, or, where
 * the client uses none, from the record of its SYN. */
static __always_inline int cookie_options(struct segment *seg, struct options *ts,
					  struct cookie *c)
{
	struct ov_syn_key key = { .flow = seg->flow, .isn = c->client_isn };
	struct ov_options *record;

	if (ts->timestamps) {
		c->timestamps = 1;
		set_option_bits(&c->opt, ts->tsecr);
		return COOKIE_VALID;
	}
	record = bpf_map_lookup_elem(&syn_records, &key);
	if (!record)
		return REASON_COOKIE_NO_RECORD;
	c->opt.wscale = record->wscale;
	c->opt.sack = record->sack;
	c->opt.ecn = record->ecn;
	return COOKIE_VALID;
}

static __always_inline bool is_inspected(struct ov_config *cfg, struct ov_flow *f)
{
	struct ov_service svc;

	return cfg->inspects && find_service(cfg, f, &svc) && inspects(&svc);
}

/* Is it the cookie that *c makes? */
static __always_inline bool fits(struct ov_key *key, struct segment *seg, struct options *ts,
				 struct cookie *c)
{
	__u64 mac = cookie_mac(key, &seg->flow, c);

	if (cookie_isn(c, mac) != seg->ack_seq - 1)
		return false;
	return !c->timestamps || cookie_tsval(c, mac) == ts->tsecr;
}

/*
 * Does this segment finish a handshake that some scheduler answered? COOKIE_VALID or
 * COOKIE_INSPECT and *c, or the reason why not. The epoch comes first: it is cheap, and most
 * foreign segments end there or at the owner, which the caller compares.
 */
static __noinline int check_cookie(struct ov_config *cfg, struct segment *seg,
				   struct options *ts, struct cookie *c)
{
	__u32 isn = seg->ack_seq - 1;
	struct ov_key *key = &cfg->keys[isn >> ISN_MAC_BITS & 3];
	int err;

	if (!key->valid)
		return REASON_COOKIE_EXPIRED;
	__builtin_memset(c, 0, sizeof(*c));
	c->client_isn = seg->seq - 1;
	c->epoch = key->epoch;
	c->owner = cookie_owner(isn);
	c->opt.mss_index = isn >> 21 & 7;
	err = cookie_options(seg, ts, c);
	if (err != COOKIE_VALID)
		return err;
	c->inspect = is_inspected(cfg, &seg->flow);
	if (!fits(key, seg, ts, c)) {
		c->inspect = !c->inspect; /* of a policy that was changed a moment ago */
		if (!cfg->inspects || !fits(key, seg, ts, c))
			return REASON_COOKIE_MISMATCH;
	}
	return c->inspect ? COOKIE_INSPECT : COOKIE_VALID;
}

#endif
