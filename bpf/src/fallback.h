/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fallback.h - why a connection is placed by least connection although its service
 * goes by a key: one list, as the reasons are. The same words stand in Go
 * (scheduler/fallback.go; a test compares).
 */
#ifndef ONEVIP_FALLBACK_H
#define ONEVIP_FALLBACK_H

#define FALLBACKS(F)                                                                         \
	/* what inspect() says of a segment */                                               \
	F(SHORT)    /* the key, or what must follow it, is not whole in the segment */       \
	F(TOO_LONG) /* likewise, in the part of a long segment that is looked at */          \
	F(NO_KEY)   /* a sound request without one: no such header, no server name */        \
	F(NOT_HTTP) /* does not begin as a request of HTTP/1.x */                            \
	F(NOT_TLS)  /* does not begin as a TLS ClientHello */                                \
	/* there was nothing to inspect */                                                   \
	F(SILENT)   /* the client waits for the server to speak first */

enum fallback {
	INSPECTED, /* no fallback: there is a key */
#define FALLBACK_ENUM(name) F_##name,
	FALLBACKS(FALLBACK_ENUM)
#undef FALLBACK_ENUM
		FALLBACK_COUNT,
};

#endif
