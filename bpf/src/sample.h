/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sample.h - a key of each bucket in words, for people.
 */
#ifndef ONEVIP_SAMPLE_H
#define ONEVIP_SAMPLE_H

#include "bytes.h"

/* Byte i of the key; 0 behind its end. */
static __always_inline __u8 key_byte(const struct ov_look *l, __u32 i)
{
	__u8 c;

	if (i < l->host.len)
		c = lower(byte_at(l, l->host.at + i));
	else if (i - l->host.len < l->path.len)
		c = byte_at(l, l->path.at + i - l->host.len);
	else
		return 0;
	return c > ' ' && c < 127 ? c : '.';
}

/* Keeps what inspect() has found in this packet as the sample of its bucket, if that
 * has none: most have, and one look tells. A header's value may be a secret, and is
 * never kept. */
__noinline int note_sample(__u32 service, struct ov_rules *rules, __u64 hash)
{
	__u32 zero = 0, key = service * LOCALITY_BUCKETS + (hash & (LOCALITY_BUCKETS - 1));
	struct ov_look *l = bpf_map_lookup_elem(&looks, &zero);
	struct ov_sample sample;

	if (!l || !rules || rules->key == KEY_HEADER || bpf_map_lookup_elem(&samples, &key))
		return 0;
	for (int i = 0; i < SAMPLE_SIZE; i++)
		sample.text[i] = key_byte(l, i);
	bpf_map_update_elem(&samples, &key, &sample, BPF_NOEXIST);
	return 0;
}

#endif
