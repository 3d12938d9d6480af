/* tests/fuzz/fuzz_pagetable.c: a stream of operations on a page table, against
 * what every page of a small window should translate to, which marks it must
 * still have, and which table pages a reader may hold. The arena is small too,
 * so that running out of pages is among the operations.
 *
 * Input: 2 bytes choose format, leaf_max, window and, of a domain, seams; then 8 bytes an operation:
 * verb and rights, pages the arena still gives, first page, pages, output frame
 * and memory type (16 bits each, little endian). */
#include <stdlib.h>
#include <string.h>

#include "mm/pagetable.h"
#include "mm/port.h"

#define WINDOW_PAGES 2048u /* 8 MiB: four 2M leaves */
#define ARENA_FRAMES 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define READERS	  2u
#define LINK_BITS 7u
#define LARGE	  0x80u

static struct {
	bool mapped, accessed, dirty; /* marks: those that must not be lost */
	bool start;		      /* of a map */
	unsigned rights;
	enum pagetable_memory memory;
	uint64_t out;
} model[WINDOW_PAGES];

static _Alignas(4096) unsigned char arena[ARENA_FRAMES * FRAME_BYTES];
static bool taken[ARENA_FRAMES];
static unsigned luck; /* pages that get() still gives */

static struct pagetable_reader readers[READERS];
static bool inside[READERS], held[READERS][ARENA_FRAMES]; /* tables that a reader inside may have found */

static enum mm_err get(void *self, struct pfn *out)
{
	(void)self;
	for (unsigned i = 0; luck > 0 && i < ARENA_FRAMES; i++) {
		if (taken[i])
			continue;
		taken[i] = true;
		luck--;
		memset(arena + i * FRAME_BYTES, 0xcc, FRAME_BYTES);
		out->n = 5 + i;
		return MM_OK;
	}
	return MM_ENOMEM;
}

static void put(void *self, struct pfn page)
{
	(void)self;
	MM_ASSERT(page.n - 5 < ARENA_FRAMES && taken[page.n - 5], page.n, 0);
	for (unsigned r = 0; r < READERS; r++)
		MM_ASSERT(!inside[r] || !held[r][page.n - 5], page.n, r);
	taken[page.n - 5] = false;
	memset(arena + (page.n - 5) * FRAME_BYTES, 0xdd, FRAME_BYTES);
}

/* All tables that a walk can come by are in the hands of the readers inside. */
static void hold(uint64_t address, unsigned level)
{
	uint64_t n = (address & UINT64_C(0xffffff000)) / FRAME_BYTES - 5, entry;

	MM_ASSERT(n < ARENA_FRAMES && taken[n], n, level);
	for (unsigned r = 0; r < READERS; r++)
		held[r][n] |= inside[r];
	for (unsigned i = 0; level > 0 && i < 512; i++) {
		memcpy(&entry, arena + n * FRAME_BYTES + i * sizeof(entry), sizeof(entry));
		if ((entry & LINK_BITS) && !(entry & LARGE))
			hold(entry, level - 1);
	}
}

static void enter_or_leave(const struct pagetable *pt, unsigned r)
{
	inside[r] = !inside[r];
	memset(held[r], 0, sizeof(held[r]));
	if (inside[r])
		pagetable_enter(pt, &readers[r]);
	else
		pagetable_leave(&readers[r]);
}

/* What a walker does to the leaf of this address. */
static void mark(const struct pagetable *pt, uint64_t in, unsigned page, bool dirty)
{
	unsigned shift = pt->config.format == PAGETABLE_EPT || pt->config.format == PAGETABLE_DOMAIN ? 8 : 5;
	uint64_t address = pagetable_root_address(pt), entry;
	struct pagetable_leaf leaf;
	unsigned char *at;

	if (!pagetable_walk(pt, in, &leaf))
		return;
	for (unsigned level = 3;; level--) {
		at = arena + ((address & UINT64_C(0xffffff000)) - 5 * FRAME_BYTES) + (in >> (12 + 9 * level) & 511) * 8;
		memcpy(&entry, at, sizeof(entry));
		if (level == (unsigned)leaf.size)
			break;
		address = entry;
	}
	entry |= UINT64_C(1) << shift | (uint64_t)dirty << (shift + 1);
	memcpy(at, &entry, sizeof(entry));
	model[page].accessed = true;
	model[page].dirty |= dirty;
}

struct told {
	uint64_t next; /* linear addresses may end at 2^64, so this is where the last leaf ended, less 1 */
	bool any;
};

static void told_leaf(void *self, const struct pagetable_leaf *leaf)
{
	struct told *t = self;

	MM_ASSERT(leaf->accessed || leaf->dirty, leaf->in, leaf->out);
	MM_ASSERT(!t->any || leaf->in > t->next, leaf->in, t->next);
	t->next = leaf->in + pagetable_size_bytes(leaf->size) - 1;
	t->any = true;
}

static uint64_t window_of(const struct pagetable_config *c, unsigned choice)
{
	const uint64_t bytes = WINDOW_PAGES * FRAME_BYTES;
	const uint64_t low[] = {0, (UINT64_C(1) << 30) - bytes / 2, (UINT64_C(1) << 39) - bytes / 2};

	if (choice < 3)
		return low[choice];
	return c->format == PAGETABLE_STAGE1 ? -bytes : (UINT64_C(1) << 48) - bytes;
}

static void compare(const struct pagetable *pt, uint64_t window)
{
	struct pagetable_leaf leaf;
	struct pagetable_run run;
	uint64_t runs = 0, mapped = 0, seams = 0;

	MM_ASSERT(pagetable_check(pt), pt->tables, pt->retired);
	for (unsigned i = 0; i < WINDOW_PAGES; i++) {
		uint64_t in = window + i * FRAME_BYTES;
		bool found = pagetable_walk(pt, in, &leaf);

		MM_ASSERT(found == model[i].mapped, in, found);
		MM_ASSERT(!found || (leaf.out + (in - leaf.in) == model[i].out && leaf.attr.rights == model[i].rights),
			  in, leaf.out);
		MM_ASSERT(!found || leaf.attr.memory == model[i].memory, in, leaf.attr.memory);
		MM_ASSERT(!found || leaf.accessed >= model[i].accessed, in, leaf.out);
		MM_ASSERT(!found || leaf.dirty >= model[i].dirty, in, leaf.out);
		MM_ASSERT(!pt->config.seams || pagetable_cuts(pt, in) == (found && !model[i].start), in, found);
		mapped += found;
		seams += pt->config.seams && model[i].start;
	}
	MM_ASSERT(pagetable_stats_read(pt).seams == seams, pagetable_stats_read(pt).seams, seams);
	for (uint64_t in = 0; pagetable_next_run(pt, in, &run); in = run.in + run.bytes) {
		runs += run.bytes / FRAME_BYTES;
		if (run.in + run.bytes == 0)
			break;
	}
	MM_ASSERT(runs == mapped, runs, mapped);
}

static bool overlaps(unsigned first, unsigned pages)
{
	for (unsigned i = first; i < first + pages; i++)
		if (model[i].mapped)
			return true;
	return false;
}

enum verb { UNMAP, PROTECT, MAP, MAP_TOO, HARVEST, MARK, READER, FLUSHED };

static bool sayable(enum pagetable_format format, struct pagetable_attr attr)
{
	if (format == PAGETABLE_EPT)
		return attr.memory != PAGETABLE_UNCACHED_MINUS;
	return format != PAGETABLE_DOMAIN || (!(attr.rights & PAGETABLE_EXEC) && attr.memory == PAGETABLE_WRITE_BACK);
}

static void model_do(enum verb verb, unsigned i, uint64_t out, struct pagetable_attr attr, unsigned clear)
{
	if (verb == HARVEST) {
		model[i].accessed &= !(clear & PAGETABLE_ACCESSED);
		model[i].dirty &= !(clear & PAGETABLE_DIRTY);
		return;
	}
	if (verb == UNMAP || verb == MAP)
		memset(&model[i], 0, sizeof(model[i]));
	if (verb == UNMAP)
		return;
	model[i].rights = attr.rights;
	model[i].memory = attr.memory;
	if (verb == MAP) {
		model[i].mapped = true;
		model[i].out = out;
	}
}

/* Harvest may clear whole leaves that reach out of its range: those of the model, too. */
static void widen(const struct pagetable *pt, uint64_t window, unsigned *first, unsigned *end)
{
	struct pagetable_leaf leaf;

	if (pagetable_walk(pt, window + *first * FRAME_BYTES, &leaf))
		*first = (unsigned)((leaf.in - window) / FRAME_BYTES);
	if (pagetable_walk(pt, window + (*end - 1) * FRAME_BYTES, &leaf))
		*end = (unsigned)((leaf.in + pagetable_size_bytes(leaf.size) - window) / FRAME_BYTES);
}

static void do_op(struct pagetable *pt, uint64_t window, const uint8_t *op)
{
	unsigned first = (op[2] | op[3] << 8) % WINDOW_PAGES, pages = (op[4] | op[5] << 8) % (WINDOW_PAGES - first) + 1;
	enum verb verb = (op[0] & 7) == MAP_TOO ? MAP : (enum verb)(op[0] & 7);
	uint64_t in = window + first * FRAME_BYTES, out = (uint64_t)(op[6] | (op[7] & 63) << 8) * FRAME_BYTES;
	struct pagetable_attr attr = {PAGETABLE_READ | (op[0] >> 3 & (PAGETABLE_WRITE | PAGETABLE_EXEC)),
				      (enum pagetable_memory)(op[7] >> 6)};
	struct told told = {0, false};
	const struct pagetable_marked tell = {&told, told_leaf};
	struct pagetable_flush flush;
	enum mm_err err = MM_ESTATE;
	unsigned end = first + pages;

	luck = op[1] % 8;
	if (verb == UNMAP)
		err = pagetable_unmap(pt, in, pages * FRAME_BYTES, &flush);
	else if (verb == PROTECT)
		err = pagetable_protect(pt, in, pages * FRAME_BYTES, attr, &flush);
	else if (verb == MAP)
		err = pagetable_map(pt, in, out, pages * FRAME_BYTES, attr);
	else if (verb == HARVEST)
		err = pagetable_harvest(pt, in, pages * FRAME_BYTES, op[1] & 3, &tell, &flush);
	else if (verb == MARK)
		mark(pt, in, first, op[1] & 1);
	else if (verb == READER)
		enter_or_leave(pt, op[1] % READERS);
	else
		pagetable_flushed(pt);
	if (verb == PROTECT || verb == MAP)
		MM_ASSERT((err == MM_EINVAL) == !sayable(pt->config.format, attr), err, verb);
	if (verb == MAP && err != MM_EINVAL)
		MM_ASSERT((err == MM_EEXIST) == overlaps(first, pages), err, in);
	MM_ASSERT(verb >= MARK || err == MM_OK || err == MM_ENOMEM || err == MM_EEXIST || err == MM_EINVAL, err, verb);
	if (verb == HARVEST)
		widen(pt, window, &first, &end);
	for (unsigned i = first; err == MM_OK && i < end; i++)
		if (verb != PROTECT || model[i].mapped)
			model_do(verb, i, out + (i - first) * FRAME_BYTES, attr, op[1] & 3);
	if (err == MM_OK && verb == MAP)
		model[first].start = true;
	hold(pagetable_root_address(pt), 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pagetable_config config = {
		.phys_bits = 36,
		.arena = arena,
		.arena_first = {5},
		.arena_frames = ARENA_FRAMES,
		.pages = {NULL, get, put},
		.readers = readers,
		.readers_count = READERS,
	};
	struct pagetable pt;
	uint64_t window;

	if (size < 2)
		return 0;
	config.format = (enum pagetable_format)(data[0] % 4);
	config.leaf_max = (enum pagetable_size)(data[0] / 4 % PAGETABLE_SIZES);
	config.seams = config.format == PAGETABLE_DOMAIN && data[0] / 12 % 2;
	window = window_of(&config, data[1] % 4);
	memset(model, 0, sizeof(model));
	memset(taken, 0, sizeof(taken));
	memset(readers, 0, sizeof(readers));
	memset(inside, 0, sizeof(inside));
	luck = 1;
	if (pagetable_init(&pt, &config) != MM_OK)
		abort();
	for (const uint8_t *op = data + 2; op + 8 <= data + size; op += 8) {
		do_op(&pt, window, op);
		compare(&pt, window);
	}
	for (unsigned r = 0; r < READERS; r++)
		if (inside[r])
			enter_or_leave(&pt, r);
	pagetable_fini(&pt);
	for (unsigned i = 0; i < ARENA_FRAMES; i++)
		MM_ASSERT(!taken[i], i, 0);
	return 0;
}
