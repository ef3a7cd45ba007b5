// SPDX-License-Identifier: GPL-2.0
/*
 * inspect.bpf.c - what inspect() says of a packet, for tests. Nothing of this runs on
 * a node.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "inspect.h"
#include "sample.h"

char LICENSE[] SEC("license") = "GPL";

struct verdict {
	__u64 hash;
	enum fallback why;
	__u32 pad;
};

/* About the last packet with a payload, by the rules of service 0. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct verdict);
} verdicts SEC(".maps");

SEC("tcx/ingress")
int inspect_only(struct __sk_buff *skb)
{
	__u32 zero = 0, headers;
	struct ov_rules *r = bpf_map_lookup_elem(&rules, &zero);
	struct verdict *v = bpf_map_lookup_elem(&verdicts, &zero);
	struct segment seg = { .l4 = L4_OFFSET_V4 };
	__u64 hash = 0;
	__u8 offset;

	if (!r || !v || bpf_skb_load_bytes(skb, L4_OFFSET_V4 + 12, &offset, 1))
		return TCX_NEXT;
	headers = L4_OFFSET_V4 + (offset >> 4) * 4;
	if (headers < L4_OFFSET_V4 + sizeof(struct tcphdr) || headers >= skb->len)
		return TCX_NEXT;
	seg.options_len = headers - L4_OFFSET_V4 - sizeof(struct tcphdr);
	seg.payload = skb->len - headers;
	v->why = inspect(skb, &seg, r, &hash);
	v->hash = hash;
	if (v->why == INSPECTED)
		note_sample(0, r, hash);
	return TCX_NEXT;
}
