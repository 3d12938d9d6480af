#include "vmm/table_pages.h"

#include <string.h>

#include "mm/port.h"

uint64_t table_pages_needed(uint64_t bytes, enum pagetable_size leaf)
{
	uint64_t pages = 1; /* the root */

	/* Each range may begin and end inside a table: two more a level and range.
	 * Ends that no large leaf fits need the lowest level as well. */
	for (unsigned level = 1; level < PAGETABLE_LEVELS; level++) {
		uint64_t reach = FRAME_BYTES << (9 * level);

		pages += (level > (unsigned)leaf ? bytes / reach : 0) + 4;
	}
	return pages;
}

void table_pages_init(struct table_pages *t, const struct block *block)
{
	*t = (struct table_pages){.block = *block};
}

static uint8_t *page_at(const struct table_pages *t, uint64_t index)
{
	return t->block.host + index * FRAME_BYTES;
}

static enum mm_err get(void *self, struct pfn *out)
{
	struct table_pages *t = self;

	if (t->back) {
		uint64_t index = t->back - 1;

		memcpy(&t->back, page_at(t, index), sizeof(t->back));
		out->n = t->block.first.n + index;
		return MM_OK;
	}
	if (t->used == t->block.bytes / FRAME_BYTES)
		return MM_ENOMEM;
	out->n = t->block.first.n + t->used++;
	return MM_OK;
}

static void put(void *self, struct pfn page)
{
	struct table_pages *t = self;
	uint64_t index = page.n - t->block.first.n;

	MM_ASSERT(page.n >= t->block.first.n && index < t->used, page.n, t->used);
	memcpy(page_at(t, index), &t->back, sizeof(t->back));
	t->back = index + 1;
}

struct pagetable_pages table_pages_source(struct table_pages *t)
{
	return (struct pagetable_pages){t, get, put};
}
