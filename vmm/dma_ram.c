/* vmm/dma_ram.c
 *
 * What it is. The memory end of the gate (devices/dma.h): a gpa becomes host bytes
 * by the one way that there is, vmm/ram.h, and for as long as a device uses them the
 * block that they are of is pinned. It keeps no translation; the IOTLBs above do,
 * and look at `generation`.
 *
 * Words. A block is one of the pool's that the guest owns. A pin is a byte of it
 * that DMA uses; a byte that is mapped twice is two.
 *
 *   D1  blocks are sorted by host address and disjoint; numbers are each given once.
 *   D2  pinned <= most; pinned is what was pinned and not unpinned.
 *   D3  the table is walked only as a reader: a table page that a change retires waits
 *       until the walk is over.
 *
 * Pins count bytes, not mappings: mappings that are neighbours on the host are one
 * segment, and come back as one, over a border of blocks, too.
 *
 * Cost. A walk: an exchange and a store for the reader. A pin: a binary search over
 * the blocks (15 steps for all that KVM has slots for), two atomic operations in one
 * cache line. 40 bytes a block.
 *
 * Rejected. One count for all blocks: relocation could then move nothing while any
 * disk reads. A count for each frame: 4 bytes for each 4 KiB, and 256 atomic additions
 * for a request of 1 MiB, for an answer that no one asks so finely. */
#include "vmm/dma_ram.h"

#include <inttypes.h>
#include <stdlib.h>

#include "mm/port.h"

static int by_host(const void *a, const void *b)
{
	const struct dma_ram_block *x = a, *y = b;

	return x->host < y->host ? -1 : x->host > y->host;
}

struct dma_ram *dma_ram_open(struct memory *memory, const struct ram *ram, const struct block *block, uint32_t blocks,
			     struct failure *f)
{
	struct dma_ram *d = memory_alloc_aligned(memory, sizeof(*d), _Alignof(struct dma_ram));
	struct dma_ram_block *list = memory_alloc(memory, blocks * sizeof(*list));

	if (!d || !list) {
		memory_free(memory, d);
		memory_free(memory, list);
		fail(f, EXIT_HOST, "no memory for the pins of %" PRIu32 " blocks", blocks);
		return NULL;
	}
	*d = (struct dma_ram){.ram = ram, .memory = memory, .blocks = blocks, .block = list};
	for (uint32_t i = 0; i < blocks; i++)
		list[i] = (struct dma_ram_block){.host = block[i].host, .bytes = block[i].bytes, .number = i};
	qsort(list, blocks, sizeof(*list), by_host);
	return d;
}

void dma_ram_close(struct dma_ram *d)
{
	if (!d)
		return;
	for (uint32_t i = 0; i < d->blocks; i++)
		MM_ASSERT(d->block[i].pinned == 0, d->block[i].number, d->block[i].pinned);
	memory_free(d->memory, d->block);
	memory_free(d->memory, d);
}

static unsigned rights_of(unsigned access)
{
	return (access & DMA_READ ? (unsigned)PAGETABLE_READ : 0) |
	       (access & DMA_WRITE ? (unsigned)PAGETABLE_WRITE : 0);
}

static uint8_t *span(void *self, unsigned reader, uint64_t gpa, uint64_t *bytes, unsigned access)
{
	struct dma_ram *d = self;
	uint8_t *host;

	MM_ASSERT(reader < DMA_RAM_READERS, reader, gpa);
	pagetable_enter(d->ram->table, &d->reader[reader]); /* D3 */
	host = ram_reach(d->ram, gpa, bytes, rights_of(access));
	pagetable_leave(&d->reader[reader]);
	return host;
}

/* The block that has this byte. A device was given it by span(), so there is one. */
static struct dma_ram_block *find(const struct dma_ram *d, const uint8_t *host)
{
	uint32_t low = 0, high = d->blocks;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (host < d->block[middle].host)
			high = middle;
		else
			low = middle;
	}
	MM_ASSERT(host >= d->block[low].host && (uint64_t)(host - d->block[low].host) < d->block[low].bytes,
		  (uintptr_t)host, d->blocks);
	return &d->block[low];
}

static void note_most(struct dma_ram_block *b, uint64_t now)
{
	uint64_t most = __atomic_load_n(&b->most, __ATOMIC_RELAXED);

	while (now > most &&
	       !__atomic_compare_exchange_n(&b->most, &most, now, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* The end of a block that others use now is theirs to see as it is: sequentially consistent, as the drain is. */
static void add(struct dma_ram *d, const uint8_t *host, uint64_t bytes, bool pin)
{
	while (bytes) {
		struct dma_ram_block *b = find(d, host);
		uint64_t left = b->bytes - (uint64_t)(host - b->host), some = bytes < left ? bytes : left;

		if (pin) {
			note_most(b, __atomic_add_fetch(&b->pinned, some, __ATOMIC_SEQ_CST));
		} else {
			uint64_t was = __atomic_fetch_sub(&b->pinned, some, __ATOMIC_SEQ_CST);

			MM_ASSERT(was >= some, was, some); /* D2 */
		}
		host += some;
		bytes -= some;
	}
}

static void pin(void *self, const uint8_t *host, uint64_t bytes)
{
	add(self, host, bytes, true);
}

static void unpin(void *self, const uint8_t *host, uint64_t bytes)
{
	add(self, host, bytes, false);
}

struct dma_memory dma_ram_memory(struct dma_ram *d)
{
	return (struct dma_memory){d, span, pin, unpin, &d->generation};
}

void dma_ram_taken(struct dma_ram *d)
{
	__atomic_add_fetch(&d->generation, 1, __ATOMIC_SEQ_CST);
}

bool dma_ram_pinned(const struct dma_ram *d, uint32_t number)
{
	for (uint32_t i = 0; i < d->blocks; i++)
		if (d->block[i].number == number)
			return __atomic_load_n(&d->block[i].pinned, __ATOMIC_SEQ_CST) != 0;
	MM_ASSERT(false, number, d->blocks);
	return true;
}

bool dma_ram_check(const struct dma_ram *d)
{
	uint64_t numbers = 0;

	for (uint32_t i = 0; i < d->blocks; i++) {
		const struct dma_ram_block *b = &d->block[i];

		if (!b->bytes || (i && b->host < d->block[i - 1].host + d->block[i - 1].bytes) ||
		    b->number >= d->blocks)
			return false; /* D1 */
		if (b->pinned > b->most)
			return false; /* D2 */
		numbers += b->number;
	}
	return numbers == (uint64_t)d->blocks * (d->blocks - 1) / 2;
}
