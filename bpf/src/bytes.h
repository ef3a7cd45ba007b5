/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bytes.h - the part of a payload that is looked at, eight bytes at a time.
 *
 * A word has its first byte lowest. What is asked of all its bytes at once is
 * answered by marks: the highest bit of each byte. The lowest mark is right; those
 * above it may be wrong (Mycroft's test; Hacker's Delight, 6-1).
 */
#ifndef ONEVIP_BYTES_H
#define ONEVIP_BYTES_H

#include "fallback.h"
#include "maps.h"

#define ONES 0x0101010101010101ULL
#define HIGHS 0x8080808080808080ULL

/* Whoever reads at a place has made sure that it is below `len`. */
static __always_inline __u8 byte_at(const struct ov_look *l, __u32 at)
{
	return l->bytes[at & (LOOK_ROOM - 1)];
}

/* What is behind the end of the payload has no meaning. By way of a pointer, or clang
 * knows that it may not be aligned, and reads each byte. */
static __always_inline __u64 word_at(const struct ov_look *l, __u32 at)
{
	const __u64 *word = (const void *)&l->bytes[at & (LOOK_ROOM - 1)];

	return *word;
}

static __always_inline __u32 number_at(const struct ov_look *l, __u32 at)
{
	return (__u32)byte_at(l, at) << 8 | byte_at(l, at + 1);
}

static __always_inline __u64 marks_of(__u64 word, __u8 c)
{
	word ^= ONES * c;
	return (word - ONES) & ~word & HIGHS;
}

/* c is at most 128. */
static __always_inline __u64 marks_below(__u64 word, __u8 c)
{
	return (word - ONES * c) & ~word & HIGHS;
}

/* The number of bytes below the lowest mark. */
static __always_inline __u32 first_mark(__u64 marks)
{
	return ((((marks - 1) & ~marks) >> 7) & ONES) * ONES >> 56;
}

/* The first n bytes. */
static __always_inline __u64 mask_of(__u32 n)
{
	return n < 8 ? (1ULL << (n * 8)) - 1 : ~0ULL;
}

/* ASCII letters in lower case. */
static __always_inline __u64 lower(__u64 word)
{
	__u64 low = word & ~HIGHS;
	__u64 from_a = low + ONES * (128 - 'A'), above_z = low + ONES * (127 - 'Z');

	return word | (((from_a ^ above_z) & ~word & HIGHS) >> 2);
}

/* To the next end of a line, or the end. */
static long seek_newline(__u32 i, struct ov_look **ctx)
{
	struct ov_look *l = *ctx;
	__u64 marks;

	if (l->at >= l->len)
		return 1;
	marks = marks_of(word_at(l, l->at), '\n');
	l->at += marks ? first_mark(marks) : 8;
	return marks != 0;
}

static long skip_blank(__u32 i, struct ov_look **ctx)
{
	struct ov_look *l = *ctx;
	__u8 c;

	if (l->at >= l->len)
		return 1;
	c = byte_at(l, l->at);
	if (c != ' ' && c != '\t')
		return 1;
	l->at++;
	return 0;
}

#endif
