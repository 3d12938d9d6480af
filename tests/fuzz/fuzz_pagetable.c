/* tests/fuzz/fuzz_pagetable.c: a stream of operations on a page table, against
 * what every page of a small window should translate to. The arena is small
 * too, so that running out of pages is among the operations.
 *
 * Input: 2 bytes choose format, leaf_max, window and arena; then 8 bytes an
 * operation: verb and rights, pages the arena still gives, first page, pages and
 * output frame (16 bits each, little endian). */
#include <stdlib.h>
#include <string.h>

#include "mm/pagetable.h"
#include "mm/port.h"

#define WINDOW_PAGES 2048u /* 8 MiB: four 2M leaves */
#define ARENA_FRAMES 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	bool mapped;
	unsigned rights;
	uint64_t out;
} model[WINDOW_PAGES];

static _Alignas(4096) unsigned char arena[ARENA_FRAMES * FRAME_BYTES];
static bool taken[ARENA_FRAMES];
static unsigned luck; /* pages that get() still gives */

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
	taken[page.n - 5] = false;
	memset(arena + (page.n - 5) * FRAME_BYTES, 0xdd, FRAME_BYTES);
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
	uint64_t runs = 0, mapped = 0;

	MM_ASSERT(pagetable_check(pt), pt->tables, pt->retired);
	for (unsigned i = 0; i < WINDOW_PAGES; i++) {
		uint64_t in = window + i * FRAME_BYTES;
		bool found = pagetable_walk(pt, in, &leaf);

		MM_ASSERT(found == model[i].mapped, in, found);
		MM_ASSERT(!found || (leaf.out + (in - leaf.in) == model[i].out && leaf.attr.rights == model[i].rights),
			  in, leaf.out);
		mapped += found;
	}
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

static void do_op(struct pagetable *pt, uint64_t window, const uint8_t *op)
{
	unsigned verb = op[0] & 3, first = (op[2] | op[3] << 8) % WINDOW_PAGES;
	unsigned pages = (op[4] | op[5] << 8) % (WINDOW_PAGES - first) + 1;
	uint64_t in = window + first * FRAME_BYTES, out = (uint64_t)(op[6] | op[7] << 8) * FRAME_BYTES;
	struct pagetable_attr attr = {.rights = PAGETABLE_READ | (op[0] >> 2 & (PAGETABLE_WRITE | PAGETABLE_EXEC))};
	struct pagetable_flush flush;
	enum mm_err err;

	luck = op[1] % 8;
	if (verb == 0)
		err = pagetable_unmap(pt, in, pages * FRAME_BYTES, &flush);
	else if (verb == 1)
		err = pagetable_protect(pt, in, pages * FRAME_BYTES, attr, &flush);
	else
		err = pagetable_map(pt, in, out, pages * FRAME_BYTES, attr);
	MM_ASSERT(err == MM_OK || err == MM_ENOMEM || (err == MM_EEXIST && verb > 1), err, verb);
	if (verb > 1)
		MM_ASSERT((err == MM_EEXIST) == overlaps(first, pages), err, in);
	for (unsigned i = first; err == MM_OK && i < first + pages; i++) {
		if (verb == 0)
			model[i].mapped = false;
		if (verb > 0)
			model[i].rights = attr.rights;
		if (verb > 1) {
			model[i].mapped = true;
			model[i].out = out + (i - first) * FRAME_BYTES;
		}
	}
	if (op[0] & 0x80)
		pagetable_flushed(pt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pagetable_config config = {
		.phys_bits = 36,
		.arena = arena,
		.arena_first = {5},
		.arena_frames = ARENA_FRAMES,
		.pages = {NULL, get, put},
	};
	struct pagetable pt;
	uint64_t window;

	if (size < 2)
		return 0;
	config.format = (enum pagetable_format)(data[0] % 3);
	config.leaf_max = (enum pagetable_size)(data[0] / 3 % PAGETABLE_SIZES);
	window = window_of(&config, data[1] % 4);
	memset(model, 0, sizeof(model));
	memset(taken, 0, sizeof(taken));
	luck = 1;
	if (pagetable_init(&pt, &config) != MM_OK)
		abort();
	for (const uint8_t *op = data + 2; op + 8 <= data + size; op += 8) {
		do_op(&pt, window, op);
		compare(&pt, window);
	}
	pagetable_fini(&pt);
	for (unsigned i = 0; i < ARENA_FRAMES; i++)
		MM_ASSERT(!taken[i], i, 0);
	return 0;
}
