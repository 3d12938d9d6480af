#include "vmm/host.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/port.h"
#include "vmm/limits.h"
#include "vmm/size.h"

/* Live blocks and the holes between them: a pool serves one guest's block, its tables, or a machine's guests. */
#define POOL_SEGMENTS 512u

#define NODE_FRAMES   (UINT64_C(1) << (HOST_POOL_SHIFT - FRAME_SHIFT))
#define END_FRAMES    (UINT64_C(1) << (HOST_PHYS_BITS - FRAME_SHIFT))
#define MIRROR_LEAST  (UINT64_C(4) << HOST_POOL_SHIFT)

int host_open(struct host *h, struct memory *memory, struct failure *f)
{
	h->memory = memory;
	h->mirror = NULL;
	h->mirror_bytes = 0;
	h->pools = 0;
	return numa_open(&h->numa, f);
}

static void *map_empty(void *at, uint64_t bytes)
{
	return mmap(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0), -1, 0);
}

static bool in_mirror(const struct host *h, const struct pool *p)
{
	return h->mirror && p->backing.host >= h->mirror && p->backing.host < h->mirror + h->mirror_bytes;
}

/* Of the mirror, what it had stays ours: else somebody else's mapping could come there, and go with the mirror. */
static void pool_close(struct host *h, struct pool *p)
{
	if (in_mirror(h, p) && map_empty(p->backing.host, p->backing.bytes) != MAP_FAILED)
		p->backing.host = NULL;
	backing_close(&p->backing);
	memory_free(h->memory, p->space_meta);
	*p = (struct pool){.backing.fd = -1};
}

void host_close(struct host *h)
{
	while (h->pools)
		pool_close(h, &h->pool[--h->pools]);
	if (h->mirror)
		munmap(h->mirror, h->mirror_bytes);
	h->mirror = NULL;
	numa_close_library(&h->numa);
}

/* It begins where a 1G page can, so that each pool lies there as its largest page wants it: its numbers do. Less than
 * all numbers will do where the process may not have so many addresses: high ones are those of a device-dax. */
int host_mirror(struct host *h, struct failure *f)
{
	const uint64_t align = pagetable_size_bytes(PAGETABLE_1G);
	uint64_t bytes = END_FRAMES * FRAME_BYTES, head;
	uint8_t *all = map_empty(NULL, bytes + align);

	MM_ASSERT(h->pools == 0 && !h->mirror, h->pools, 0);
	while (all == MAP_FAILED && bytes > MIRROR_LEAST)
		all = map_empty(NULL, (bytes /= 2) + align);
	if (all == MAP_FAILED) {
		const int error = errno;

		if (limits_check_addresses("several zones of memory", bytes, align, f))
			return f->code;
		return fail(f, EXIT_HOST, "several zones of memory want %s of addresses, of which most stay empty: %s",
			    size_format(bytes).s, strerror(error));
	}
	head = -(uintptr_t)all & (align - 1);
	if (head)
		munmap(all, head);
	munmap(all + head + bytes, align - head);
	h->mirror = all + head;
	h->mirror_bytes = bytes;
	return 0;
}

const struct pool *host_pool_of(const struct host *h, struct pfn frame)
{
	for (unsigned i = 0; i < h->pools; i++) {
		const struct pool *p = &h->pool[i];

		if (p->node != HOST_TABLES && frame.n >= p->base.n &&
		    frame.n - p->base.n < p->backing.bytes / FRAME_BYTES)
			return p;
	}
	return NULL;
}

/* In the mirror: where it has its numbers. */
static int map_pool(const struct host *h, struct pool *p, const struct backing_config *config, struct failure *f)
{
	const uint64_t at = p->base.n * FRAME_BYTES;

	if (!h->mirror || p->node == HOST_TABLES)
		return backing_map(&p->backing, config, NULL, f);
	if (at + config->bytes > h->mirror_bytes)
		return fail(f, EXIT_HOST,
			    "this process may not have the addresses for a pool whose frames begin at 0x%" PRIx64
			    "; is there a limit (ulimit -v)?",
			    p->base.n);
	if (backing_map(&p->backing, config, h->mirror + at, f))
		(void)map_empty(h->mirror + at, config->bytes);
	return f->code;
}

/* The pool that has a number of [first, first + frames); NULL: nobody. */
static const struct pool *owner(const struct host *h, uint64_t first, uint64_t frames)
{
	for (unsigned i = 0; i < h->pools; i++) {
		const struct pool *p = &h->pool[i];

		if (first < p->base.n + p->backing.bytes / FRAME_BYTES && p->base.n < first + frames)
			return p;
	}
	return NULL;
}

/* From `first` on, and once around: behind each pool that is in the way, at a multiple of the largest page. A frame is
 * left between the two: the kernel makes one mapping of two that touch, and their sums could not be told apart. */
static bool find_numbers(const struct host *h, uint64_t first, uint64_t frames, uint64_t *base)
{
	const uint64_t align = pagetable_size_bytes(PAGETABLE_1G) / FRAME_BYTES;
	bool around = first < NODE_FRAMES;

	for (;;) {
		const struct pool *p = owner(h, first, frames);

		if (first + frames <= END_FRAMES && !p) {
			*base = first;
			return true;
		}
		if (first + frames > END_FRAMES && around)
			return false;
		if (first + frames > END_FRAMES) {
			around = true;
			first = NODE_FRAMES;
		} else
			first = (p->base.n + p->backing.bytes / FRAME_BYTES + align) & ~(align - 1);
	}
}

static int refuse_physical(const struct pool *p, const struct pool *other, const char *device, struct failure *f)
{
	const char *option = p->backing.zone ? p->backing.zone : "--memory";
	const uint64_t first = p->base.n << FRAME_SHIFT;

	if (!other)
		return fail(f, EXIT_HOST,
			    "%s: %s is at physical 0x%" PRIx64
			    ", and frame numbers have room for what is below 0x%" PRIx64,
			    option, device, first, UINT64_C(1) << HOST_PHYS_BITS);
	return fail(f, EXIT_HOST,
		    "%s: %s is at physical 0x%" PRIx64 ", and another pool has those frame numbers already: 0x%" PRIx64
		    " on for %s",
		    option, device, first, other->base.n << FRAME_SHIFT, size_format(other->backing.bytes).s);
}

/* How many frames behind a multiple of 1G its numbers are to begin, so that beside larger pages of others its own are
 * the largest that its leaves can be: out of step with the guest's addresses by one of them. */
static uint64_t skew(const struct host *h, const struct pool *p, uint64_t gpa)
{
	const uint64_t page = pagetable_size_bytes(p->backing.leaf);

	if (!h->mirror || p->node == HOST_TABLES || p->backing.leaf == PAGETABLE_1G)
		return 0;
	gpa = (gpa + page - 1) & ~(page - 1);
	return (gpa + page) % pagetable_size_bytes((enum pagetable_size)(p->backing.leaf + 1)) / FRAME_BYTES;
}

/* The numbers of an open backing. */
static int set_base(const struct host *h, struct pool *p, uint64_t gpa, const char *device, struct failure *f)
{
	const uint64_t frames = p->backing.bytes / FRAME_BYTES, behind = skew(h, p, gpa);
	const struct pool *other;

	if (!p->backing.physical) {
		const uint64_t own =
			p->node == HOST_TABLES ? 0 : (p->node % HOST_NODES_MAX + UINT64_C(1)) * NODE_FRAMES;

		if (!find_numbers(h, own, behind + frames, &p->base.n))
			return fail(f, EXIT_HOST, "no frame numbers are left for a pool of %s",
				    size_format(p->backing.bytes).s);
		p->base.n += behind;
		return 0;
	}
	p->base = p->backing.first;
	other = owner(h, p->base.n, frames);
	if (other || p->base.n + frames > END_FRAMES)
		return refuse_physical(p, other, device, f);
	return 0;
}

static int check_pool(const struct host *h, const struct backing_config *backing, struct failure *f)
{
	const char *option = backing->zone ? backing->zone : backing->option ? backing->option : "--memory";

	if (h->pools == HOST_POOLS_MAX)
		return fail(f, EXIT_HOST, "%s: there are %u pools already, which is all that can be", option, h->pools);
	if (backing->bytes > HOST_POOL_BYTES_MAX)
		return fail(f, EXIT_HOST, "%s size=%s: a pool holds %s at most", option, size_format(backing->bytes).s,
			    size_format(HOST_POOL_BYTES_MAX).s);
	return 0;
}

static int open_books(struct host *h, struct pool *p, uint32_t segments, struct failure *f)
{
	const struct extent_config space = {
		.base = p->base.n,
		.units = p->backing.bytes / FRAME_BYTES,
		.segments_max = segments ? segments : POOL_SEGMENTS,
		.policy = EXTENT_BEST_FIT,
	};
	const size_t bytes = extent_config_bytes(&space);

	p->space_meta = memory_alloc_aligned(h->memory, bytes, 64);
	if (!p->space_meta || extent_init(p->space_meta, bytes, &space, &p->space) != MM_OK)
		return fail(f, EXIT_HOST, "no memory for the pool's book-keeping (%zu bytes)", bytes);
	return 0;
}

int host_add_pool(struct host *h, unsigned node, const struct pool_config *config, struct pool **out, struct failure *f)
{
	const struct backing_config *backing = &config->backing;
	struct pool *p = &h->pool[h->pools];

	if (check_pool(h, backing, f))
		return f->code;
	*p = (struct pool){.node = node, .prefault = config->prefault};
	if (backing_prepare(&p->backing, backing, f))
		return f->code;
	if (backing->devdax && p->backing.node != BACKING_NODE_ANY)
		p->node = p->backing.node;
	if (set_base(h, p, config->gpa, backing->devdax, f) || map_pool(h, p, backing, f) ||
	    open_books(h, p, config->segments, f)) {
		pool_close(h, p);
		return f->code;
	}
	if (!backing->devdax && node != HOST_TABLES)
		numa_place(&h->numa, p->backing.host, p->backing.bytes, node);
	h->pools++;
	*out = p;
	return 0;
}

int host_clear(const struct host *h, struct failure *f)
{
	for (unsigned i = 0; i < h->pools && !f->code; i++)
		(void)backing_clear(&h->pool[i].backing, f);
	return f->code;
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
