/* devices/dma.c: the one gate from a device to guest memory.
 *
 * What it is. Two translations in a row, iova to gpa by the endpoint's domain
 * and gpa to host bytes by the guest's table, a cache of what both say together,
 * and the promise that whoever takes either away can wait until nobody uses it.
 * It keeps no memory and copies none that it was not told to.
 *
 * Words. A run is what the domain says around an iova; a piece is the part of it
 * that is contiguous on the host, too. The IOTLB holds pieces. A use is
 * devices/flight.h's. A generation is a number that grows when something is taken
 * away: the endpoint's, and the memory's.
 *
 * Invariants, all of them verified by dma_check():
 *   I1  an entry of the IOTLB is empty, or it has host bytes, and a right;
 *   I2  while the generations are those seen, each entry says what both tables
 *       say about all of its range;
 *   I3  those of flight.c; the last slot is not used: it is the copies'.
 *
 * Order. Each access begins a use of its whole range, then loads both
 * generations, and empties the IOTLB unless they are those seen; only then does it
 * look at IOTLB or tables. Who takes away changes the table first, then the
 * generation, and looks at the uses then: either he finds this one and waits for its
 * end, or the access finds the new generation and after it the changed table.
 * What a walk finds is entered under the generations loaded before it, so an
 * entry that was taken away meanwhile is gone with the next use. What is given
 * needs no generation: that something is not mapped is never remembered.
 *
 * Whole or nothing. A copy finds all of its pieces before it moves the first byte, up
 * to COPY_PIECES of them. One of more pieces looks at all, then moves them
 * by so many: only there can a driver that unmaps during the DMA find a part
 * of it done, as it would with hardware.
 *
 * Cost. A hit: one exchange, and some ten loads. The IOTLB is direct-mapped by a hash of
 * the page: a disk's headers and its data lie equally aligned, and by the page's low bits
 * they drove each other out, two misses a request. A piece is entered under its first page,
 * and under each other one that is asked for. A miss walks the domain's leaves on for REACH
 * at most: host memory in pieces of 4K would else have each of them walk all the rest.
 * A change of generation costs 512 stores.
 *
 * Memory: 8 KiB of IOTLB, 16 KiB of slots a queue.
 *
 * Failure. A fault is a guest's mistake: it is counted, told, and nothing else
 * happens. Slots can run out (DMA_BUSY) for maps alone.
 *
 * Rejected. To invalidate by range: the one who changes would write into each
 * queue's IOTLB, under a lock that every access would have to take; a generation costs
 * a reader one load. An IOTLB of the domain's alone: it saves
 * 4 loads of 8. To remember faults: a driver that maps and then notifies
 * would have to be told of. */
#include <string.h>

#include "devices/dma.h"
#include "devices/iommu.h"

#define PAGE_BYTES  (UINT64_C(1) << DMA_PAGE_SHIFT)
#define REACH	    (16u * PAGE_BYTES)
#define COPY_PIECES 16u

void dma_init(struct dma *d, const struct dma_memory *memory, struct iommu_endpoint *endpoint, unsigned reader)
{
	*d = (struct dma){.memory = memory, .endpoint = endpoint, .reader = reader};
	flight_init(&d->flight);
	for (unsigned i = 0; i < DMA_TLB_ENTRIES; i++)
		d->tlb[i].first = 1;
	if (endpoint)
		iommu_add_flight(endpoint, &d->flight);
}

/* ---- the order: a use, then the generations ---- */

static uint64_t generation_load(const uint64_t *generation)
{
	return __atomic_load_n(generation, __ATOMIC_SEQ_CST);
}

static void tlb_empty(struct dma *d, const uint64_t now[2])
{
	for (unsigned i = 0; i < DMA_TLB_ENTRIES; i++) {
		d->tlb[i].first = 1;
		d->tlb[i].last = 0;
	}
	d->seen[0] = now[0];
	d->seen[1] = now[1];
}

/* A use of [first, last]; there is a slot. */
static unsigned use_begin(struct dma *d, uint64_t first, uint64_t last)
{
	unsigned slot = flight_begin(&d->flight, first, last);
	uint64_t now[2] = {d->endpoint ? generation_load(&d->endpoint->generation) : 0,
			   generation_load(d->memory->generation)};

	if (__builtin_expect(now[0] != d->seen[0] || now[1] != d->seen[1], 0))
		tlb_empty(d, now);
	return slot;
}

/* ---- pieces ---- */

static struct iommu_fault fault_at(const struct dma *d, uint64_t iova, unsigned access)
{
	return (struct iommu_fault){
		.reason = VIRTIO_IOMMU_FAULT_UNKNOWN,
		.flags = VIRTIO_IOMMU_FAULT_ADDRESS | (access & DMA_READ ? VIRTIO_IOMMU_FAULT_READ : 0) |
			 (access & DMA_WRITE ? VIRTIO_IOMMU_FAULT_WRITE : 0),
		.endpoint = d->endpoint ? d->endpoint->id : 0,
		.address = iova,
	};
}

static bool fault_tell(struct dma *d, const struct iommu_fault *fault)
{
	d->stats.faults++;
	if (d->endpoint)
		iommu_report(d->endpoint->iommu, fault);
	return false;
}

/* The piece from the start of iova's page to the end of the one that has `last`, as far as both go. Not farther: each
 * leaf costs a walk, and an entry is found under its first page alone. */
static bool piece_find(const struct dma *d, uint64_t iova, uint64_t last, unsigned access, struct dma_tlb_entry *out,
		       struct iommu_fault *fault)
{
	const uint64_t page = iova & ~(PAGE_BYTES - 1), reach = last - page < REACH ? last : page + (REACH - 1);
	struct iommu_run run = {.last = UINT64_MAX};
	uint64_t bytes;

	if (d->endpoint &&
	    !iommu_translate(d->endpoint, d->reader, (struct iommu_range){iova, reach}, access, &run, fault))
		return false;
	/* From the start of its page, which is whole in both translations or not there at all. */
	out->first = page;
	last |= PAGE_BYTES - 1;
	bytes = (last < run.last ? last : run.last) - out->first;
	bytes += bytes < UINT64_MAX;
	out->host = d->memory->span(d->memory->self, d->reader, run.gpa + (out->first - run.first), &bytes, access);
	*fault = fault_at(d, iova, access);
	out->last = out->first + (bytes - 1);
	out->access = access;
	return out->host != NULL && iova <= out->last;
}

/* What was known about another right remains so where both agree. */
static void tlb_enter(struct dma_tlb_entry *entry, const struct dma_tlb_entry *piece)
{
	unsigned access = entry->access;
	bool same = entry->first <= piece->first && entry->last >= piece->first &&
		    entry->host + (piece->first - entry->first) == piece->host;
	uint64_t last = entry->last;

	*entry = *piece;
	if (!same)
		return;
	entry->access |= access;
	if (last < entry->last)
		entry->last = last;
}

static bool piece_missed(struct dma *d, uint64_t iova, uint64_t last, unsigned access, struct dma_tlb_entry *entry)
{
	struct dma_tlb_entry piece;
	struct iommu_fault fault;

	d->stats.misses++;
	if (!piece_find(d, iova, last, access, &piece, &fault))
		return fault_tell(d, &fault);
	tlb_enter(entry, &piece);
	return true;
}

/* Host bytes at iova, up to `last` at most; false: a fault, which is told. */
static inline bool piece_at(struct dma *d, uint64_t iova, uint64_t last, unsigned access, struct dma_segment *out)
{
	struct dma_tlb_entry *entry = &d->tlb[dma_tlb_slot(iova)];

	if (__builtin_expect(iova >= entry->first && iova <= entry->last && !(access & ~entry->access), 1))
		d->stats.hits++;
	else if (!piece_missed(d, iova, last, access, entry))
		return false;
	out->host = entry->host + (iova - entry->first);
	out->bytes = (last < entry->last ? last : entry->last) - iova + 1;
	return true;
}

/* ---- copies ---- */

static bool wraps(uint64_t iova, uint64_t bytes)
{
	return bytes - 1 > UINT64_MAX - iova;
}

struct copy {
	uint8_t *to;	     /* reads */
	const uint8_t *from; /* writes */
	unsigned access;
};

static void segment_copy(const struct dma_segment *s, const struct copy *c, uint64_t done)
{
	if (c->access == DMA_READ)
		memcpy(c->to + done, s->host, s->bytes);
	else
		memcpy(s->host, c->from + done, s->bytes);
}

struct pieces {
	struct dma_segment piece[COPY_PIECES];
	unsigned count;
	uint64_t bytes;
};

/* As many as there is room for; false: a fault. */
static bool pieces_find(struct dma *d, uint64_t iova, uint64_t last, unsigned access, struct pieces *p)
{
	uint64_t bytes = last - iova + 1;

	p->bytes = 0;
	for (p->count = 0; p->count < COPY_PIECES && p->bytes < bytes; p->bytes += p->piece[p->count++].bytes)
		if (!piece_at(d, iova + p->bytes, last, access, &p->piece[p->count]))
			return false;
	return true;
}

static void pieces_move(const struct pieces *p, const struct copy *c, uint64_t done)
{
	for (unsigned i = 0; i < p->count; done += p->piece[i++].bytes)
		segment_copy(&p->piece[i], c, done);
}

static __attribute__((noinline)) bool copy_pieces(struct dma *d, const struct copy *c, uint64_t iova, uint64_t last)
{
	uint64_t bytes = last - iova + 1, done;
	struct pieces p = {.bytes = 0};

	for (done = 0; done < bytes; done += p.bytes)
		if (!pieces_find(d, iova + done, last, c->access, &p))
			return false;
	if (p.bytes == bytes) {
		pieces_move(&p, c, 0);
		return true;
	}
	for (done = 0; done < bytes; done += p.bytes) {
		if (!pieces_find(d, iova + done, last, c->access, &p))
			return false;
		pieces_move(&p, c, done);
	}
	return true;
}

static bool copy_all(struct dma *d, const struct copy *c, uint64_t iova, uint64_t last)
{
	struct dma_segment piece;

	if (!piece_at(d, iova, last, c->access, &piece))
		return false;
	if (piece.bytes != last - iova + 1)
		return copy_pieces(d, c, iova, last);
	segment_copy(&piece, c, 0);
	return true;
}

static bool copy_range(struct dma *d, const struct copy *c, uint64_t iova, uint64_t bytes)
{
	struct iommu_fault fault;
	unsigned slot;
	bool done;

	if (bytes == 0)
		return true;
	if (wraps(iova, bytes)) {
		fault = fault_at(d, iova, c->access);
		return fault_tell(d, &fault);
	}
	slot = use_begin(d, iova, iova + bytes - 1);
	done = copy_all(d, c, iova, iova + bytes - 1);
	flight_end(&d->flight, slot);
	d->stats.copied += done ? bytes : 0;
	return done;
}

bool dma_read(struct dma *d, uint64_t iova, void *to, uint64_t bytes)
{
	struct copy c = {.to = to, .access = DMA_READ};

	return copy_range(d, &c, iova, bytes);
}

bool dma_write(struct dma *d, uint64_t iova, const void *from, uint64_t bytes)
{
	struct copy c = {.from = from, .access = DMA_WRITE};

	return copy_range(d, &c, iova, bytes);
}

/* ---- words ---- */

/* Host bytes of an aligned word, or NULL, a fault; the caller ends the use. */
static void *word_begin(struct dma *d, uint64_t iova, unsigned bytes, unsigned access, unsigned *slot)
{
	struct dma_segment piece;
	struct iommu_fault fault;

	*slot = use_begin(d, iova, iova | (bytes - 1));
	if (iova & (bytes - 1)) {
		fault = fault_at(d, iova, access);
		(void)fault_tell(d, &fault);
		return NULL;
	}
	return piece_at(d, iova, iova + bytes - 1, access, &piece) ? piece.host : NULL;
}

bool dma_load16(struct dma *d, uint64_t iova, uint16_t *out)
{
	unsigned slot;
	const uint16_t *word = word_begin(d, iova, sizeof(*word), DMA_READ, &slot);

	if (word)
		*out = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	flight_end(&d->flight, slot);
	return word != NULL;
}

bool dma_load32(struct dma *d, uint64_t iova, uint32_t *out)
{
	unsigned slot;
	const uint32_t *word = word_begin(d, iova, sizeof(*word), DMA_READ, &slot);

	if (word)
		*out = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	flight_end(&d->flight, slot);
	return word != NULL;
}

bool dma_store16(struct dma *d, uint64_t iova, uint16_t value)
{
	unsigned slot;
	uint16_t *word = word_begin(d, iova, sizeof(*word), DMA_WRITE, &slot);

	if (word)
		__atomic_store_n(word, value, __ATOMIC_RELEASE);
	flight_end(&d->flight, slot);
	return word != NULL;
}

/* ---- maps ---- */

/* Adds a piece at the end of the list; false iff there is no room. */
static bool list_add(struct dma_list *list, const struct dma_segment *piece)
{
	struct dma_segment *end = list->segment + list->count;

	if (list->count > 0 && end[-1].host + end[-1].bytes == piece->host)
		end[-1].bytes += piece->bytes;
	else if (list->count < list->room)
		list->segment[list->count++] = *piece;
	else
		return false;
	list->bytes += piece->bytes;
	return true;
}

/* Pins what the list has more than it had. */
static void list_pin(const struct dma *d, const struct dma_list *list, unsigned count, uint64_t last_bytes)
{
	for (unsigned i = count > 0 ? count - 1 : 0; i < list->count; i++) {
		uint64_t had = i + 1 == count ? last_bytes : 0;
		const struct dma_segment *s = &list->segment[i];

		if (s->bytes > had)
			d->memory->pin(d->memory->self, s->host + had, s->bytes - had);
	}
}

/* Adds pieces of [iova, last] as long as there is room; false: a fault. */
static bool map_pieces(struct dma *d, uint64_t iova, uint64_t last, unsigned access, struct dma_list *list)
{
	uint64_t left = last - iova + 1;
	struct dma_segment piece;

	for (; left > 0; left -= piece.bytes) {
		if (!piece_at(d, last - left + 1, last, access, &piece))
			return false;
		if (!list_add(list, &piece))
			break;
	}
	return true;
}

static enum dma_result map_range(struct dma *d, uint64_t iova, uint64_t last, unsigned access, struct dma_list *list,
				 uint64_t *mapped)
{
	const struct dma_list was = *list;
	uint64_t last_bytes = was.count > 0 ? list->segment[was.count - 1].bytes : 0;
	unsigned slot = use_begin(d, iova, last);
	bool ok = map_pieces(d, iova, last, access, list);

	if (!ok || list->bytes == was.bytes) {
		flight_end(&d->flight, slot);
		*list = was;
		if (was.count > 0)
			list->segment[was.count - 1].bytes = last_bytes;
		return ok ? DMA_OK : DMA_FAULT;
	}
	list_pin(d, list, was.count, last_bytes);
	d->flight.slot[slot].next = was.count > 0 ? was.flight : FLIGHT_NONE;
	list->flight = slot;
	*mapped = list->bytes - was.bytes;
	d->stats.mapped += *mapped;
	return DMA_OK;
}

enum dma_result dma_map(struct dma *d, uint64_t iova, uint64_t bytes, unsigned access, struct dma_list *list,
			uint64_t *mapped)
{
	struct iommu_fault fault;

	*mapped = 0;
	if (bytes == 0)
		return DMA_OK;
	if (wraps(iova, bytes)) {
		fault = fault_at(d, iova, access);
		(void)fault_tell(d, &fault);
		return DMA_FAULT;
	}
	if (d->flight.live >= FLIGHT_SLOTS - 1)
		return DMA_BUSY;
	return map_range(d, iova, iova + bytes - 1, access, list, mapped);
}

void dma_unmap(struct dma *d, struct dma_list *list)
{
	unsigned slot = list->count > 0 ? list->flight : FLIGHT_NONE, next;

	for (unsigned i = 0; i < list->count; i++)
		d->memory->unpin(d->memory->self, list->segment[i].host, list->segment[i].bytes);
	for (; slot != FLIGHT_NONE; slot = next) {
		next = d->flight.slot[slot].next;
		flight_end(&d->flight, slot);
	}
	list->count = 0;
	list->bytes = 0;
	list->flight = FLIGHT_NONE;
}

void dma_drain(const struct dma *d, uint64_t iova, uint64_t bytes, void (*wait)(void *self), void *self)
{
	if (bytes > 0)
		flight_drain(&d->flight, iova, wraps(iova, bytes) ? UINT64_MAX : iova + bytes - 1, wait, self);
}

/* ---- the check ---- */

static bool check_entry(const struct dma *d, const struct dma_tlb_entry *entry)
{
	struct dma_tlb_entry piece;
	struct iommu_fault fault;

	if (entry->first > entry->last)
		return true;
	if (!entry->host || entry->access == 0 || (entry->access & ~(unsigned)(DMA_READ | DMA_WRITE)))
		return false; /* I1 */
	for (unsigned access = DMA_READ; access <= DMA_WRITE; access <<= 1)
		if ((entry->access & access) &&
		    (!piece_find(d, entry->first, entry->last, access, &piece, &fault) || piece.last < entry->last ||
		     piece.host + (entry->first - piece.first) != entry->host))
			return false; /* I2 */
	return true;
}

bool dma_check(const struct dma *d)
{
	bool current = (!d->endpoint || generation_load(&d->endpoint->generation) == d->seen[0]) &&
		       generation_load(d->memory->generation) == d->seen[1];

	for (unsigned i = 0; current && i < DMA_TLB_ENTRIES; i++)
		if (!check_entry(d, &d->tlb[i]))
			return false;
	return flight_check(&d->flight) && d->flight.live < FLIGHT_SLOTS; /* I3 */
}
