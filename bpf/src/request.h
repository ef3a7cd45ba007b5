/* SPDX-License-Identifier: GPL-2.0 */
/*
 * request.h - the key in a request of HTTP/1.x. The oracle is scheduler.Key in Go.
 */
#ifndef ONEVIP_REQUEST_H
#define ONEVIP_REQUEST_H

#include "bytes.h"

#define MAX_METHOD 24 /* the longest registered has 17 letters */

/* What may stand in a method (RFC 9110, 5.6.2), by a character's number: a bit each. */
#define TOKENS_LOW 0x03ff6cfa00000000ULL
#define TOKENS_HIGH 0x57ffffffc7fffffeULL

#define WORD_HTTP_1 0x002e312f50545448ULL  /* "HTTP/1." */
#define WORD_HTTP 0x002f2f3a70747468ULL	   /* "http://" */
#define WORD_HTTPS 0x2f2f3a7370747468ULL   /* "https://" */
#define WORD_CONNECT 0x205443454e4e4f43ULL /* "CONNECT " */
#define WORD_HOST 0x0000000074736f68ULL	   /* "host" */

static __always_inline bool is_token(__u8 c)
{
	return c < 128 && ((c < 64 ? TOKENS_LOW : TOKENS_HIGH) >> (c & 63)) & 1;
}

/* Leaves `at` behind the method and its one space. */
static __always_inline int skip_method(struct ov_look *l)
{
	__u8 c;

	for (__u32 i = 0; i <= MAX_METHOD; i++) {
		if (i >= l->len)
			return l->cut;
		c = byte_at(l, i);
		if (c == ' ' && i > 0) {
			l->at = i + 1;
			return INSPECTED;
		}
		if (!is_token(c))
			return F_NOT_HTTP;
	}
	return F_NOT_HTTP;
}

static __always_inline bool is_version(__u64 word)
{
	__u8 minor = word >> 56;

	return (word & mask_of(7)) == WORD_HTTP_1 && minor >= '0' && minor <= '9';
}

/* The end of the request line, a bare LF too (RFC 9112, 2.2). */
static __always_inline int check_version(struct ov_look *l, __u32 at)
{
	__u8 end;

	if (at + 9 > l->len)
		return l->cut;
	end = byte_at(l, at + 8);
	return is_version(word_at(l, at)) && (end == '\r' || end == '\n') ? INSPECTED : F_NOT_HTTP;
}

/* A walk along a path. */
struct path_walk {
	struct ov_look *l;
	__u64 slashes;	/* all bits: look for slashes; none: don't */
	__u32 segments; /* that may still begin */
};

/* To the end of the path, or of its first segments. */
static long seek_path_end(__u32 i, struct path_walk *w)
{
	struct ov_look *l = w->l;
	__u64 word, marks;
	__u32 n;

	if (l->at >= l->len)
		return 1;
	word = word_at(l, l->at);
	marks = marks_below(word, ' ' + 1) | marks_of(word, '?') | (marks_of(word, '/') & w->slashes);
	if (!marks) {
		l->at += 8;
		return 0;
	}
	n = first_mark(marks);
	l->at += n;
	if ((word >> (n * 8) & 0xff) != '/' || !w->segments)
		return 1;
	w->segments--;
	l->at++;
	return 0;
}

static __always_inline int to_path_end(struct ov_look *l, bool slashes, __u32 segments)
{
	struct path_walk w = { .l = l, .slashes = slashes ? ~0ULL : 0, .segments = segments };

	bpf_loop(LOOKED_AT, seek_path_end, &w, 0);
	return l->at < l->len ? INSPECTED : l->cut;
}

/* Checks what ends a path: of a query or of more segments nothing is looked at. */
static __always_inline int behind_path(struct ov_look *l)
{
	__u8 c = byte_at(l, l->at);

	if (c == '?' || c == '/')
		return INSPECTED;
	return c == ' ' ? check_version(l, l->at + 1) : F_NOT_HTTP;
}

static __always_inline int take_path(struct ov_look *l, struct ov_rules *rules)
{
	__u32 start = l->at;
	int why = to_path_end(l, rules->key == KEY_PATH_PREFIX, rules->segments);

	if (!why)
		why = behind_path(l);
	l->path.at = start;
	l->path.len = l->at - start;
	return why;
}

/* The absolute form (RFC 9112, 3.2.2), behind its scheme. An empty path is "/" (RFC
 * 9110, 4.2.3): the scheme has one. */
static __always_inline int take_absolute(struct ov_look *l, struct ov_rules *rules)
{
	__u32 start = l->at;
	int why = to_path_end(l, true, 0);

	if (why)
		return why;
	if (l->at == start)
		return F_NOT_HTTP;
	if (rules->key == KEY_HOST_PATH) {
		l->host.at = start;
		l->host.len = l->at - start;
	}
	if (byte_at(l, l->at) == '/')
		return take_path(l, rules);
	l->path.at = start - 1;
	l->path.len = 1;
	return behind_path(l);
}

/* Leaves `at` at the path's end. */
static __always_inline int take_target(struct ov_look *l, struct ov_rules *rules)
{
	__u64 word = word_at(l, l->at);
	int why;

	if (word_at(l, 0) == WORD_CONNECT)
		return F_NO_KEY;
	if (l->at < l->len && (word & 0xff) == '/')
		return take_path(l, rules);
	if (l->at + 8 > l->len)
		return l->cut; /* in a whole request there is more */
	if ((word & 0xffff) == ('*' | ' ' << 8)) {
		why = check_version(l, l->at + 2);
		return why ? why : F_NO_KEY;
	}
	word = lower(word);
	if (word != WORD_HTTPS && (word & mask_of(7)) != WORD_HTTP)
		return F_NOT_HTTP;
	l->at += word == WORD_HTTPS ? 8 : 7;
	return take_absolute(l, rules);
}

/* A walk along the lines. */
struct header_walk {
	struct ov_look *l;
	__u64 name[MAX_HEADER_NAME / 8]; /* in lower case, zeros behind it */
	__u32 name_len;
	__u32 why;
};

/* Does the line at `at` begin with the name and a colon? */
static __always_inline bool is_named(const struct header_walk *w, __u64 first)
{
	struct ov_look *l = w->l;
	__u32 end = l->at + w->name_len;

	if ((lower(first) ^ w->name[0]) & mask_of(w->name_len))
		return false;
	if (end >= l->len || byte_at(l, end) != ':')
		return false;
	for (__u32 i = 1; i < MAX_HEADER_NAME / 8 && i * 8 < w->name_len; i++)
		if ((lower(word_at(l, l->at + i * 8)) ^ w->name[i]) & mask_of(w->name_len - i * 8))
			return false;
	return true;
}

/* From somewhere in a line to the next, and what that is. */
static long seek_header(__u32 i, struct header_walk *w)
{
	struct ov_look *l = w->l;
	__u64 word;

	if (!seek_newline(i, &w->l))
		return 0;
	if (++l->at >= l->len)
		return 1;
	word = word_at(l, l->at);
	if ((word & 0xff) == '\n' || ((word & 0xffff) == ('\r' | '\n' << 8) && l->at + 1 < l->len))
		w->why = F_NO_KEY;
	else if (is_named(w, word))
		w->why = INSPECTED;
	else
		return 0;
	return 1;
}

/* Where the line that ends at `at` has its last byte, and one more. */
static __always_inline __u32 line_end(struct ov_look *l, __u32 start)
{
	__u32 end = l->at;

	return end > start && byte_at(l, end - 1) == '\r' ? end - 1 : end;
}

/* Leaves `at` at the end of the request line, which begins with a target at `target`. */
static __always_inline int end_request_line(struct ov_look *l, __u32 target)
{
	__u32 end;

	bpf_loop(LOOKED_AT, seek_newline, &l, 0);
	if (l->at >= l->len)
		return l->cut;
	end = line_end(l, target);
	if (end < target + 10 || byte_at(l, end - 9) != ' ' || !is_version(word_at(l, end - 8)))
		return F_NOT_HTTP;
	return INSPECTED;
}

struct trim {
	struct ov_look *l;
	__u32 start, end;
};

static long trim_blank(__u32 i, struct trim *t)
{
	__u8 c;

	if (t->end <= t->start)
		return 1;
	c = byte_at(t->l, t->end - 1);
	if (c != ' ' && c != '\t')
		return 1;
	t->end--;
	return 0;
}

/* The value that begins at `at`, without the white space around it. */
static __always_inline int take_value(struct ov_look *l, struct ov_span *value)
{
	struct trim t = { .l = l };

	bpf_loop(LOOKED_AT, skip_blank, &l, 0);
	t.start = l->at;
	bpf_loop(LOOKED_AT, seek_newline, &l, 0);
	if (l->at >= l->len)
		return l->cut;
	t.end = line_end(l, t.start);
	bpf_loop(LOOKED_AT, trim_blank, &t, 0);
	value->at = t.start;
	value->len = t.end - t.start;
	return t.end > t.start ? INSPECTED : F_NO_KEY;
}

/* The first header of that name. */
static __always_inline int take_header(struct ov_look *l, struct header_walk *w, __u32 target,
				       struct ov_span *value)
{
	int why = end_request_line(l, target);

	if (why)
		return why;
	w->l = l;
	w->why = l->cut;
	bpf_loop(LOOKED_AT, seek_header, w, 0);
	if (w->why)
		return w->why;
	l->at += w->name_len + 1;
	return take_value(l, value);
}

static __always_inline int take_named(struct ov_look *l, struct ov_rules *rules)
{
	struct header_walk w = { .name_len = rules->name_len };

	__builtin_memcpy(w.name, rules->name, sizeof(w.name));
	return take_header(l, &w, l->at, &l->path);
}

static __always_inline int take_host(struct ov_look *l, __u32 target)
{
	struct header_walk w = { .name = { WORD_HOST }, .name_len = 4 };

	return take_header(l, &w, target, &l->host);
}

/* A header's value stands where else a path does: as it is. */
static __noinline int find_in_request(struct ov_look *l, struct ov_rules *rules)
{
	__u32 target;
	int why = skip_method(l);

	if (why)
		return why;
	if (rules->key == KEY_HEADER)
		return take_named(l, rules);
	target = l->at;
	why = take_target(l, rules);
	if (why || rules->key != KEY_HOST_PATH || l->host.len)
		return why;
	return take_host(l, target);
}

#endif
