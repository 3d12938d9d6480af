/* vmm/pack/fleet_impl.h: the fields of a fleet, for fleet.c and its own tests. */
#ifndef SLAT_VMM_PACK_FLEET_IMPL_H
#define SLAT_VMM_PACK_FLEET_IMPL_H

#include "mm/compact.h"
#include "vmm/pack/fleet.h"
#include "vmm/pack/host_index.h"
#include "vmm/pack/node_pool.h"
#include "vmm/pack/random.h"

#define FLEET_PART_NONE	 UINT32_MAX
#define FLEET_GUEST_NONE UINT32_MAX

struct fleet_pool { /* a node; or its huge pages, which have no CPUs of their own */
	struct node_pool pool;
	uint32_t cpu_millis, cpu_free; /* FLEET_CPU_UNLIMITED: both, for ever */
};

struct fleet_host {
	uint32_t shape, first;	 /* pool: of the nodes; then, in a fleet with huge pages, those of theirs */
	uint32_t guests, guest;	 /* how many, and the first of them, or FLEET_GUEST_NONE */
	uint64_t largest, holes; /* of its nodes, as counted in the totals */
};

struct fleet_guest {
	uint32_t host;
	uint32_t part;		/* the first; FLEET_PART_NONE: it does not live */
	uint32_t before, after; /* on the same host, or FLEET_GUEST_NONE */
	uint64_t asked, local;	/* units */
	bool pinned, huge;
};

struct fleet_piece { /* of a guest, or unused */
	struct fleet_part part;
	uint32_t next;
};

struct fleet {
	struct fleet_config config;   /* without its shapes */
	struct placement_host *shape; /* what does not change; nodes are filled in when one is asked about */
	struct fleet_host *host;
	struct fleet_pool *pool;
	uint32_t hosts, pools;
	bool huge;		    /* there are huge pages */
	struct host_index index[2]; /* of the rest, and of huge pages */
	struct fleet_totals totals;
	struct fleet_guest *guest;
	struct fleet_piece *piece;
	uint32_t guests_max, pieces_max, piece_free, pieces_free;
	uint64_t *until, *leaves; /* by host, by guest; NULL: lifetimes are not known */
	uint32_t host_last;	  /* of a global next fit */
	struct random chance;
	struct placement chosen;
	uint32_t cpu_scale; /* of chosen: thousandths that its CPUs count */

	/* For fleet_compact.c, as large as it ever needed them. */
	void *scratch;
	size_t scratch_bytes;
	fleet_moved_fn *moved; /* or NULL */
	void *moved_self;
	struct compact_move *move;
	uint32_t moves_max;
};

/* Takes what the host has out of the totals, and the host anew into them. */
void fleet_recount(struct fleet *f, uint32_t host);

static inline struct fleet_pool *fleet_pool_of(const struct fleet *f, uint32_t host, uint32_t node)
{
	return &f->pool[f->host[host].first + node];
}

static inline struct node_pool *fleet_memory_of(const struct fleet *f, uint32_t host, uint32_t node, bool huge)
{
	return &fleet_pool_of(f, host, node + (huge ? f->shape[f->host[host].shape].nodes : 0))->pool;
}

#endif
