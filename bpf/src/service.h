/* SPDX-License-Identifier: GPL-2.0 */
/*
 * service.h - the service of a connection.
 */
#ifndef ONEVIP_SERVICE_H
#define ONEVIP_SERVICE_H

#include "flow.h"

/* Does the first request name the owner? */
static __always_inline bool inspects(const struct ov_service *svc)
{
	return svc->policy == POLICY_LOCALITY || svc->policy == POLICY_BOUNDED_HASH;
}

static __always_inline struct ov_rules *rules_of(const struct ov_service *svc)
{
	__u32 id = svc->id;

	return bpf_map_lookup_elem(&rules, &id);
}

static __always_inline struct ov_service *service_of(const struct ov_flow *f)
{
	struct ov_service_key key = { .vip = f->vip, .port = f->vip_port };

	return bpf_map_lookup_elem(&services, &key);
}

/* As service_of, but the map is looked into only if the services are many. */
static __always_inline bool find_service(struct ov_config *cfg, struct ov_flow *f,
					 struct ov_service *svc)
{
	struct ov_inline_service *s;
	struct ov_service *found;

	if (cfg->service_count == NO_INLINE) {
		found = service_of(f);
		if (found)
			*svc = *found;
		return found != NULL;
	}
	for (int i = 0; i < INLINE_SERVICES && i < cfg->service_count; i++) {
		s = &cfg->services[i];
		if (s->key.port != f->vip_port || s->key.vip.halves[1] != f->vip.halves[1] ||
		    s->key.vip.halves[0] != f->vip.halves[0])
			continue;
		*svc = s->service;
		return true;
	}
	return false;
}

#endif
