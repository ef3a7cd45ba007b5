// SPDX-License-Identifier: GPL-2.0
/*
 * bench.bpf.c - what the packet's way is measured against, and with. Nothing of
 * this runs on a node.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "locality.h"
#include "parse.h"
#include "service.h"

#define BPF_MAP_TYPE_PROG_ARRAY 3
#define AGAIN_SIZE 128

char LICENSE[] SEC("license") = "GPL";

static __always_inline int parse_only_v4(struct __sk_buff *skb, struct ov_config *cfg,
					 void *data, void *end)
{
	struct iphdr *ip = data + L3_OFFSET;
	struct tcphdr *tcp = data + L4_OFFSET_V4;
	struct segment seg = {};
	__u32 total = 0;
	int verdict = parse_v4(skb, cfg, ip, end, &total);

	if (verdict != GO_ON)
		return verdict == FROM_VIP ? pass(REASON_NOT_VIP) : verdict;
	if (ip->protocol != IPPROTO_TCP)
		return drop(REASON_NOT_TCP);
	if ((void *)(tcp + 1) > end)
		return drop(REASON_TRUNCATED);
	verdict = parse_tcp(tcp, total - sizeof(*ip), &seg);
	return verdict == GO_ON ? drop(REASON_FOREIGN) : verdict;
}

static __always_inline int parse_only_v6(struct __sk_buff *skb, struct ov_config *cfg,
					 void *data, void *end)
{
	struct ipv6hdr *ip = data + L3_OFFSET;
	struct tcphdr *tcp = data + L4_OFFSET_V6;
	struct segment seg = {};
	__u32 total = 0;
	int verdict = parse_v6(skb, cfg, ip, end, &total);

	if (verdict != GO_ON)
		return verdict == FROM_VIP ? pass(REASON_NOT_VIP) : verdict;
	if (ip->nexthdr != IPPROTO_TCP)
		return drop(REASON_NOT_TCP);
	if ((void *)(tcp + 1) > end)
		return drop(REASON_TRUNCATED);
	verdict = parse_tcp(tcp, total - sizeof(*ip), &seg);
	return verdict == GO_ON ? drop(REASON_FOREIGN) : verdict;
}

/* The baseline: checks all headers as the real program does, and drops. */
SEC("tcx/ingress")
int bench_baseline(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ov_config *cfg = get_config();
	struct ethhdr *eth = data;

	if (!cfg)
		return TCX_NEXT;
	if ((void *)(eth + 1) > end)
		return pass(REASON_NOT_VIP);
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return parse_only_v4(skb, cfg, data, end);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return parse_only_v6(skb, cfg, data, end);
	return pass(REASON_NOT_VIP);
}

/* What a run costs in itself: takes a look at the Ethernet type, and drops. */
SEC("tcx/ingress")
int bench_bare(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > end || !eth->h_proto)
		return TCX_NEXT;
	return TCX_DROP;
}

/* The frame that bench_again puts back, all of its `len` bytes. */
struct again_frame {
	__u32 len;
	__u8 bytes[AGAIN_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct again_frame);
} frames SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} targets SEC(".maps");

/*
 * A program that rewrites its packet finds another one the next time. This puts
 * the packet back as it was, and goes on to the program in `targets`.
 */
SEC("tcx/ingress")
int bench_again(struct __sk_buff *skb)
{
	__u32 zero = 0, len;
	struct again_frame *f = bpf_map_lookup_elem(&frames, &zero);

	if (!f)
		return TCX_NEXT;
	len = f->len;
	if (len == 0 || len > AGAIN_SIZE)
		return TCX_NEXT;
	if (bpf_skb_store_bytes(skb, 0, f->bytes, len, 0))
		return TCX_NEXT;
	bpf_tail_call(skb, &targets, 0);
	return TCX_NEXT;
}

/* In place of a frame: who gets a connection? */
struct pick_order {
	__u64 hash;
	struct ov_service svc;
	__u64 has_key; /* 0: its request has none */
};

/* Returns the node that is picked, as for a first segment, or, where the policy does not
 * look at it, for a SYN. */
SEC("tcx/ingress")
int bench_pick(struct __sk_buff *skb)
{
	struct ov_flow flow = {};
	struct pick_order order;
	struct ov_rules *rules;

	if (bpf_skb_load_bytes(skb, 0, &order, sizeof(order)))
		return UNDECIDED;
	if (!inspects(&order.svc))
		return pick_owner(&order.svc, &flow);
	rules = rules_of(&order.svc);
	if (!order.has_key || !rules)
		return best_of(&order.svc);
	return pick_by_locality(&order.svc, rules, order.hash);
}
