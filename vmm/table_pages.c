/* vmm/table_pages.c
 *
 * A page of a table is a frame, so what serves it is mm/frames, over a block of
 * its own: it keeps its books outside the frames (some hundred bytes and 1.2 bits
 * a frame, in the VMM's memory) and gives each frame of the block away as a table
 * page, so that stitch_table_pages() is also what the block must have: no more,
 * no less.
 *
 * Rejected. A slab cache of 4 KiB objects over the block: its slabs begin with a
 * header, which takes a whole page where objects are aligned to pages (1 in 16),
 * and its magazines lie in frames of the same source: the pool would hold pages
 * that no table is made of, and how many would hang on the slab's insides. What
 * it gives for that, constructed objects and many CPUs, a table has no use for:
 * the engine clears a page when it gets it, and one thread edits a table. */
#include "vmm/table_pages.h"

#include "mm/port.h"

int table_pages_open(struct table_pages *t, struct memory *memory, const struct block *block, struct failure *f)
{
	const struct frames_config config = {.frame_count = block->bytes / FRAME_BYTES, .cpus = MEMORY_CPUS};
	const size_t bytes = frames_meta_bytes(config.frame_count, MEMORY_CPUS);
	enum mm_err error;

	*t = (struct table_pages){.memory = memory, .block = *block, .state = memory_alloc_aligned(memory, bytes, 64)};
	if (!t->state)
		return fail(f, EXIT_HOST, "no memory for the books of the second-level table's pages (%zu bytes)",
			    bytes);
	error = frames_init(&t->frames, t->state, bytes, &config);
	if (error == MM_OK)
		error = frames_donate(&t->frames, (struct pfn){0}, config.frame_count);
	MM_ASSERT(error == MM_OK, error, config.frame_count);
	return 0;
}

void table_pages_close(struct table_pages *t)
{
	memory_free(t->memory, t->state);
	*t = (struct table_pages){0};
}

static enum mm_err get(void *self, struct pfn *out)
{
	struct table_pages *t = self;
	enum mm_err error = frames_alloc(&t->frames, MEMORY_MAIN_CPU, 0, out);

	if (error == MM_OK)
		out->n += t->block.first.n;
	return error;
}

static void put(void *self, struct pfn page)
{
	struct table_pages *t = self;
	const struct pfn frame = {page.n - t->block.first.n};

	MM_ASSERT(frames_free(&t->frames, MEMORY_MAIN_CPU, frame, 0) == MM_OK, page.n, t->block.first.n);
}

struct pagetable_pages table_pages_source(struct table_pages *t)
{
	return (struct pagetable_pages){t, get, put};
}
