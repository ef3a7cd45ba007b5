/* SPDX-License-Identifier: GPL-2.0 */
/*
 * reason.h - every way out of the program, in one list. The same words stand in
 * Go (reason.go; a test compares), in `onevip` and in the metrics.
 *
 * Full maps are in the list where they change a verdict; LRU maps evict their
 * oldest entry and never refuse.
 */
#ifndef ONEVIP_REASON_H
#define ONEVIP_REASON_H

#define REASONS(R)                                                                            \
	/* passed up */                                                                       \
	R(NOT_VIP)	     /* not for a VIP */                                              \
	R(OWN)		     /* this kernel has the socket */                                 \
	R(ADOPTED)	     /* valid cookie that names us: the kernel makes the socket */    \
	R(ADOPTED_YOUNG)     /* the same of a failed owner, for whom this node acts */        \
	R(ADOPTED_INSPECTED) /* names us as inspector, and the first request is for us */     \
	R(ADOPTED_HANDED)    /* names another as inspector, who handed it to us */            \
	R(CLOSED)	     /* of a connection we had: the kernel owes a RST */              \
	R(REUSE_TIME_WAIT)   /* became the RST that ends a TIME_WAIT of the same tuple */     \
	R(REUSE_LIVE)	     /* became the RST that ends the tuple's old connection */        \
	R(OWN_ICMP_ERROR)    /* ICMP error about a segment of ours */                         \
	R(ECHO)		     /* ICMP echo, and this node answers it */                        \
	/* sent out */                                                                        \
	R(ANSWERED)	     /* SYN became a SYN/ACK */                                       \
	R(ANSWERED_AS_FORMER) /* likewise: the slot was ours in the table before */           \
	R(ANSWERED_FOR_PRIMARY) /* likewise: the primary is suspected, or is not waited for */ \
	R(ANSWERED_SECOND_SYN) /* likewise: the primary has not answered the first */         \
	R(ANSWERED_UNTIMED)  /* likewise: no room or timer to wait for the primary */        \
	R(REFUSED_NO_SERVICE) /* SYN to a port without a service became a RST */              \
	R(RESET_NO_LISTENER) /* valid cookie names us, but nobody listens: RST */             \
	R(RESET_ORPHAN)	     /* the owner has failed, and this node acts for it: RST */       \
	R(RESET_YOUNG)	     /* the same, just made; the owner may have got its request: RST */ \
	R(ASKED)	     /* another node's question became its answer */                  \
	R(HANDED_OVER)	     /* this inspector sent the first request to its owner */         \
	R(FOLLOWED)	     /* sent after a segment that was handed over */                  \
	R(SILENT_CLOSED)     /* a client that asks for nothing: RST */                        \
	/* dropped */                                                                         \
	R(FOREIGN)	     /* another node's connection */                                  \
	R(FOREIGN_ICMP)	     /* ICMP about another node's, or another node answers */         \
	R(NOT_PRIMARY)	     /* SYN of another scheduler's slot */                            \
	R(AWAITING)	     /* SYN waits for its primary's answer here */                    \
	R(SYN_COPY)	     /* SYN sent to us by the scheduler that has named us */          \
	R(MIRRORED)	     /* SYN/ACK of another member, seen */                            \
	R(NO_NODE)	     /* no node may be picked */                                      \
	R(NOT_READY)	     /* no id, slots or keys installed yet */                         \
	R(COOKIE_EXPIRED)    /* names us, under a key no longer accepted */                   \
	R(COOKIE_MISMATCH)   /* names us, but the MAC is wrong: forged, or a foreign segment */ \
	R(COOKIE_NO_RECORD)  /* no timestamps and no record of the SYN */                     \
	R(DUPLICATE)	     /* first segment of a connection that has closed already */      \
	R(ADOPT_MPTCP)	     /* the listener is MPTCP: the kernel refuses it */               \
	R(ADOPT_REFUSED)     /* the kernel refused for another reason */                      \
	R(REUSE_STUCK)	     /* the old socket of a reused tuple did not go yet */            \
	R(TRUNCATED)	     /* ends before its headers do */                                 \
	R(BAD_IP_HEADER)     /* version or length field contradict the packet */              \
	R(IP_OPTIONS)	     /* IPv4 options */                                               \
	R(FRAGMENT)	     /* IPv4 fragment */                                              \
	R(EXT_HEADER)	     /* IPv6 extension header, fragments too */                       \
	R(LAND)		     /* source is a VIP */                                            \
	R(NOT_TCP)	     /* no protocol of ours */                                        \
	R(ICMP_OTHER)	     /* ICMP that is neither echo nor error */                        \
	R(NEIGHBOR)	     /* neighbour discovery for a VIP: the switch answers */          \
	R(BAD_TCP_HEADER)    /* data offset below 5 or beyond the packet */                   \
	R(BAD_TCP_FLAGS)     /* SYN with FIN, SYN with RST, or none of SYN, ACK, RST */       \
	R(BAD_TCP_OPTIONS)   /* an option of length 0 or 1, or beyond the header */           \
	R(REWRITE_FAILED)    /* no memory to rewrite the packet */                            \
	R(STOOD_DOWN)	     /* this node was declared failed */                              \
	R(STRAY)	     /* owner unknown, and one that this node acts for has failed */  \
	R(ASK_OTHER)	     /* a question to another node, or to one that we were */         \
	R(ASK_FORGED)	     /* a question under no key of ours, or with a wrong MAC */                        \
	R(UNDECIDED)	     /* names us as inspector, and asks for nothing yet */            \
	R(TOLD)		     /* the inspector tells the guard who has a connection */         \
	R(NO_MEMBER)	     /* to be handed to a node whose MAC is not known */              \
	R(DECISION_LOST)     /* no room to remember whose it is: decided when it comes again */ \
	R(NO_CLIENT)	     /* handed to us, nobody listens, and the client's MAC is not known */ \
	/* not of a packet: beside it, or later */                                            \
	R(SPECULATED)	     /* SYN/ACK given to the agent: the primary stayed silent */      \
	R(NOTICE_LOST)	     /* the agent is away or behind: no room for a notice */          \
	R(UNHEARD_FULL)	     /* no room to keep a SYN/ACK that named us */                    \
	R(UNKNOWN_MANY)	     /* too many unknown connections at once: one is not remembered */

enum reason {
#define REASON_ENUM(name) REASON_##name,
	REASONS(REASON_ENUM)
#undef REASON_ENUM
		REASON_COUNT,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 128);
	__type(key, __u32);
	__type(value, __u64);
} reasons SEC(".maps");

_Static_assert(REASON_COUNT <= 128, "map reasons is too small");

static __always_inline void count(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&reasons, &reason);

	if (n)
		(*n)++;
}

/* Each way out says whether the packet goes up, and why. */
static __always_inline int pass(enum reason reason)
{
	count(reason);
	return TCX_NEXT;
}

static __always_inline int drop(enum reason reason)
{
	count(reason);
	return TCX_DROP;
}

/* Sends the packet back out of the interface that it came in by. */
static __always_inline int reply(struct __sk_buff *skb, enum reason reason)
{
	count(reason);
	return bpf_redirect(skb->ifindex, 0);
}

#endif
