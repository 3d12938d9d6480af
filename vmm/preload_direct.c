/* vmm/preload_direct.c: blocks that are mappings of their own, by address in a hash table.
 *
 * What it is. For blocks so large that a system call is cheap beside touching them:
 * the host has all of it back at once, and a block grows by moving its pages' entries
 * instead of its bytes.
 *
 * The table. Open addressing, linear probing, a power of two of entries, at most half of
 * them in use; deletion moves back what probed past the gap, so there are no marks of
 * what was deleted. In a mapping of its own that doubles.
 *
 * Order. An entry goes before its mapping does and comes after it, all under the lock but
 * the mapping itself: the host may give an address again as soon as it is unmapped.
 *
 * Threads. A lock, held for some probes, or while the table doubles. */
#include <sys/mman.h>

#include "mm/lock.h"
#include "vmm/preload_direct.h"

#define TABLE_ENTRIES_MIN 256u /* a page */

struct entry {
	uintptr_t at; /* 0: none */
	size_t bytes;
};

static struct {
	struct lock lock;
	struct entry *entries;
	size_t size, used; /* `used` counts what is being resized, too: its entry has room to come back */
	uint64_t bytes;
} table;

static size_t page_up(size_t bytes)
{
	return (bytes + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1);
}

static size_t home_of(uintptr_t at)
{
	return (at >> FRAME_SHIFT) * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (table.size - 1);
}

/* Where it is, or would be. */
static struct entry *find(uintptr_t at)
{
	size_t i = home_of(at);

	while (table.entries[i].at && table.entries[i].at != at)
		i = (i + 1) & (table.size - 1);
	return &table.entries[i];
}

static void *map(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* Room for one more. */
static bool make_room(void)
{
	struct entry *old = table.entries;
	size_t old_size = table.size, size = old_size ? 2 * old_size : TABLE_ENTRIES_MIN;
	struct entry *entries;

	if (2 * (table.used + 1) <= old_size)
		return true;
	entries = map(size * sizeof(*entries));
	if (!entries)
		return false;
	table.entries = entries;
	table.size = size;
	for (size_t i = 0; i < old_size; i++)
		if (old[i].at)
			*find(old[i].at) = old[i];
	if (old)
		munmap(old, old_size * sizeof(*old));
	return true;
}

static void put(void *memory, size_t bytes)
{
	*find((uintptr_t)memory) = (struct entry){(uintptr_t)memory, bytes};
	table.bytes += bytes;
}

static bool add(void *memory, size_t bytes)
{
	bool room;

	lock_take(&table.lock);
	room = make_room();
	if (room) {
		put(memory, bytes);
		table.used++;
	}
	lock_drop(&table.lock);
	return room;
}

/* Entries behind the gap whose probe began at or before it move back. */
static void close_gap(size_t gap)
{
	size_t mask = table.size - 1;

	for (size_t i = (gap + 1) & mask; table.entries[i].at; i = (i + 1) & mask) {
		if (((i - home_of(table.entries[i].at)) & mask) < ((i - gap) & mask))
			continue;
		table.entries[gap] = table.entries[i];
		gap = i;
	}
	table.entries[gap].at = 0;
}

/* Its bytes; 0: it is none. */
static size_t cut(const void *memory, bool comes_back)
{
	size_t bytes = 0;

	lock_take(&table.lock);
	if (table.used > 0 && memory) {
		struct entry *entry = find((uintptr_t)memory);

		if (entry->at) {
			bytes = entry->bytes;
			table.used -= !comes_back;
			table.bytes -= bytes;
			close_gap((size_t)(entry - table.entries));
		}
	}
	lock_drop(&table.lock);
	return bytes;
}

/* More is mapped than is needed, and what is beyond is given back. */
static void *map_aligned(size_t bytes, size_t align)
{
	size_t more = align > FRAME_BYTES ? align - FRAME_BYTES : 0, before, after;
	char *memory;

	if (bytes > PTRDIFF_MAX - more)
		return NULL;
	memory = map(bytes + more);
	if (!memory || more == 0)
		return memory;
	before = -(uintptr_t)memory & (align - 1);
	after = more - before;
	if (before > 0)
		munmap(memory, before);
	if (after > 0)
		munmap(memory + before + bytes, after);
	return memory + before;
}

void *preload_direct_alloc(size_t bytes, size_t align)
{
	void *memory;

	if (bytes > PTRDIFF_MAX - FRAME_BYTES || align > PTRDIFF_MAX)
		return NULL;
	memory = map_aligned(page_up(bytes), align);
	if (memory && !add(memory, page_up(bytes))) {
		munmap(memory, page_up(bytes));
		return NULL;
	}
	return memory;
}

size_t preload_direct_bytes(const void *memory)
{
	size_t bytes = 0;

	lock_take(&table.lock);
	if (table.used > 0 && memory) {
		struct entry *entry = find((uintptr_t)memory);

		bytes = entry->at ? entry->bytes : 0;
	}
	lock_drop(&table.lock);
	return bytes;
}

size_t preload_direct_free(void *memory)
{
	size_t bytes = cut(memory, false);

	/* To unmap the middle of a mapping needs one more, and there may be no more: then at least its pages go. */
	if (bytes > 0 && munmap(memory, bytes) != 0)
		madvise(memory, bytes, MADV_DONTNEED);
	return bytes;
}

void *preload_direct_resize(void *memory, size_t bytes)
{
	size_t old = cut(memory, true);
	void *moved = MAP_FAILED;

	MM_ASSERT(old > 0, memory, bytes);
	if (bytes <= PTRDIFF_MAX - FRAME_BYTES)
		moved = mremap(memory, old, page_up(bytes), MREMAP_MAYMOVE);
	lock_take(&table.lock);
	if (moved == MAP_FAILED)
		put(memory, old);
	else
		put(moved, page_up(bytes));
	lock_drop(&table.lock);
	return moved == MAP_FAILED ? NULL : moved;
}

struct preload_direct_stats preload_direct_stats_read(void)
{
	struct preload_direct_stats stats;

	lock_take(&table.lock);
	stats = (struct preload_direct_stats){table.used, table.bytes};
	lock_drop(&table.lock);
	return stats;
}
