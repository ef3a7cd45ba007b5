// SPDX-License-Identifier: GPL-2.0
/*
 * bench.bpf.c - what the packet's way is measured against, and with. Nothing of
 * this runs on a node.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define BPF_MAP_TYPE_PROG_ARRAY 3
#define FRAME_SIZE 128

char LICENSE[] SEC("license") = "GPL";

/* Finds the TCP header, and drops: the least that any filter must do. */
SEC("tcx/ingress")
int bench_baseline(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct ipv6hdr *ip6 = (void *)(eth + 1);
	struct tcphdr *tcp;

	if ((void *)(eth + 1) > end)
		return TCX_NEXT;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if ((void *)(ip + 1) > end || ip->ihl < 5 || ip->protocol != IPPROTO_TCP)
			return TCX_NEXT;
		tcp = (void *)ip + ip->ihl * 4;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		if ((void *)(ip6 + 1) > end || ip6->nexthdr != IPPROTO_TCP)
			return TCX_NEXT;
		tcp = (void *)(ip6 + 1);
	} else {
		return TCX_NEXT;
	}
	if ((void *)(tcp + 1) > end || tcp->doff < 5)
		return TCX_NEXT;
	return TCX_DROP;
}

/* The frame that bench_again puts back, all of its `len` bytes. */
struct again_frame {
	__u32 len;
	__u8 bytes[FRAME_SIZE];
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
	if (len == 0 || len > FRAME_SIZE)
		return TCX_NEXT;
	if (bpf_skb_store_bytes(skb, 0, f->bytes, len, 0))
		return TCX_NEXT;
	bpf_tail_call(skb, &targets, 0);
	return TCX_NEXT;
}
