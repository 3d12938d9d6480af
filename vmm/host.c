#include "vmm/host.h"

#include <inttypes.h>
#include <string.h>

#include "mm/port.h"
#include "vmm/size.h"

/* Live blocks and the holes between them: a pool serves one guest's block, its tables, or a machine's guests. */
#define POOL_SEGMENTS 512u

int host_open(struct host *h, struct memory *memory, struct failure *f)
{
	*h = (struct host){.memory = memory};
	return numa_open(&h->numa, f);
}

static void pool_close(struct host *h, struct pool *p)
{
	backing_close(&p->backing);
	memory_free(h->memory, p->space_meta);
	*p = (struct pool){.backing.fd = -1};
}

void host_close(struct host *h)
{
	while (h->pools)
		pool_close(h, &h->pool[--h->pools]);
	numa_close_library(&h->numa);
}

int host_add_pool(struct host *h, unsigned node, const struct pool_config *config, struct pool **out, struct failure *f)
{
	const struct backing_config *backing = &config->backing;
	struct pool *p = &h->pool[h->pools];
	struct extent_config space = {
		.units = backing->bytes / FRAME_BYTES,
		.segments_max = config->segments ? config->segments : POOL_SEGMENTS,
		.policy = EXTENT_BEST_FIT,
	};
	size_t meta_bytes = extent_config_bytes(&space);

	if (node != HOST_TABLES && node >= HOST_NODES_MAX)
		return fail(f, EXIT_HOST, "memory node %u cannot be used: frame numbers have room for nodes below %u",
			    node, HOST_NODES_MAX);
	if (backing->bytes > HOST_POOL_BYTES_MAX)
		return fail(f, EXIT_HOST, "%s size=%s: a pool holds %s at most",
			    backing->option ? backing->option : "--memory", size_format(backing->bytes).s,
			    size_format(HOST_POOL_BYTES_MAX).s);
	*p = (struct pool){.node = node};
	if (node != HOST_TABLES)
		p->base.n = ((uint64_t)node + 1) << (HOST_POOL_SHIFT - FRAME_SHIFT);
	if (backing_open(&p->backing, backing, f))
		return f->code;
	if (node != HOST_TABLES)
		numa_place(&h->numa, p->backing.host, p->backing.bytes, node);
	space.base = p->base.n;
	p->space_meta = memory_alloc_aligned(h->memory, meta_bytes, 64);
	if (!p->space_meta || extent_init(p->space_meta, meta_bytes, &space, &p->space) != MM_OK) {
		pool_close(h, p);
		return fail(f, EXIT_HOST, "no memory for the pool's book-keeping (%zu bytes)", meta_bytes);
	}
	h->pools++;
	*out = p;
	return 0;
}

int pool_alloc(struct pool *p, uint64_t bytes, struct block *out, struct failure *f)
{
	struct extent_request ask = {
		.units = bytes / FRAME_BYTES,
		.align = pagetable_size_bytes(p->backing.leaf) / FRAME_BYTES,
	};
	struct extent run;

	if (extent_alloc(p->space, &ask, &run) != MM_OK) {
		struct extent_stats s = extent_stats_read(p->space);

		return fail(f, EXIT_HOST,
			    "no contiguous block of %s in the pool of node %u: its largest hole is %s of %s free in "
			    "%" PRIu64 " holes%s%s",
			    size_format(bytes).s, p->node, size_format(s.largest_hole * FRAME_BYTES).s,
			    size_format(s.units_free * FRAME_BYTES).s, s.holes,
			    s.largest_hole >= ask.units ? ", but none holds it from a multiple of this on: " : "",
			    s.largest_hole >= ask.units ? size_format(ask.align * FRAME_BYTES).s : "");
	}
	*out = pool_block(p, run);
	return 0;
}

int pool_take(struct pool *p, uint64_t start, uint64_t bytes, struct failure *f)
{
	const struct extent run = {p->base.n + start / FRAME_BYTES, bytes / FRAME_BYTES};

	if (start < p->backing.bytes && bytes <= p->backing.bytes - start &&
	    extent_alloc_at(p->space, run, false) == MM_OK)
		return 0;
	return fail(f, EXIT_USAGE, "--pool taken=0x%" PRIx64 "+0x%" PRIx64 ": not free in a pool of %s", start, bytes,
		    size_format(p->backing.bytes).s);
}

struct block pool_block(struct pool *p, struct extent run)
{
	return (struct block){
		.pool = p,
		.first = {run.first},
		.bytes = run.units * FRAME_BYTES,
		.host = p->backing.host + (run.first - p->base.n) * FRAME_BYTES,
	};
}

void pool_free(struct block *b)
{
	struct extent run = {b->first.n, b->bytes / FRAME_BYTES};

	if (b->pool)
		MM_ASSERT(extent_free(b->pool->space, run) == MM_OK, run.first, run.units);
	*b = (struct block){0};
}
