/* tests/unit/fake_dma.h: guest memory for devices under test: regions of heap, with holes between them, each
 * readable, writable, both or neither, each elsewhere on the host; a shadow of which bytes a device read
 * or wrote; a fault at the n-th access. Knows no test framework: fuzz targets use it, too.
 *
 * How the shadow knows. While `watch` is on, every span() makes the device's IOTLB stale, so that each
 * access comes here, and the access says in devices/flight.h what it is about to
 * touch. It is on from the start; off it costs nothing, and threads may share the memory.
 * What it sees is what was asked for: of a map that came back short, all of it.
 *
 *	fake_dma_init(&f);
 *	ram = fake_dma_add(&f, 0x1000, 0x4000, DMA_READ | DMA_WRITE);
 *	fake_dma_device(&f, &dma, NULL, 0);
 *	... fake_dma_touched(&f, 0x1000, 16, DMA_WRITE) == 16 ... f.strays == 0 ... f.pinned == 0
 *	fake_dma_free(&f); */
#ifndef SLAT_TESTS_UNIT_FAKE_DMA_H
#define SLAT_TESTS_UNIT_FAKE_DMA_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/dma.h"

#define FAKE_DMA_REGIONS 32u
#define FAKE_DMA_READERS 64u
#define FAKE_DMA_PAGE	 4096u

struct fake_region {
	uint64_t gpa, bytes; /* multiples of FAKE_DMA_PAGE */
	unsigned access;     /* of devices */
	uint8_t *host;
	uint8_t *shadow; /* of each byte: the accesses so far */
};

struct fake_dma {
	struct dma_memory memory;
	uint64_t generation;
	struct fake_region region[FAKE_DMA_REGIONS];
	unsigned regions;
	bool watch;
	uint64_t accesses; /* each page of an access is one, while watched */
	uint64_t fail_at;  /* that one is refused, and so is none behind it; 0: none is */
	uint64_t strays;   /* refused because nothing is there, or not for this */
	uint64_t stray_gpa;
	uint64_t pinned; /* bytes */
	struct fake_watched {
		struct dma *dma;
		bool known;
		uint64_t serial, next; /* of the use that was seen last: where its next page begins */
	} reader[FAKE_DMA_READERS];
};

#define FAKE_DMA_MUST(condition)                                                                                       \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "fake_dma: %s does not hold\n", #condition);                                   \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static inline struct fake_region *fake_dma_region(struct fake_dma *f, uint64_t gpa)
{
	for (unsigned i = 0; i < f->regions; i++)
		if (gpa - f->region[i].gpa < f->region[i].bytes)
			return &f->region[i];
	return NULL;
}

/* The use that d began last, NULL: it is in none (dma_check() looks at tables, too). */
static inline const struct flight_slot *fake_dma_use(const struct dma *d)
{
	const struct flight_slot *newest = NULL;

	for (unsigned i = 0; i < FLIGHT_SLOTS / 64; i++)
		for (uint64_t used = d->flight.used[i]; used; used &= used - 1) {
			const struct flight_slot *slot = &d->flight.slot[i * 64 + (unsigned)__builtin_ctzll(used)];

			if (!newest || slot->serial > newest->serial)
				newest = slot;
		}
	return newest;
}

/* Marks what the use of this reader touches of [gpa, gpa + bytes), host bytes being those of `region`, if any. */
static inline void fake_dma_mark(struct fake_dma *f, struct fake_watched *w, struct fake_region *region, uint64_t gpa,
				 uint64_t bytes, unsigned access)
{
	const struct flight_slot *use = w->dma ? fake_dma_use(w->dma) : NULL;
	uint64_t page, end;

	f->stray_gpa = region ? f->stray_gpa : gpa;
	if (!use)
		return;
	if (!w->known || w->serial != use->serial)
		*w = (struct fake_watched){.dma = w->dma, .known = true, .serial = use->serial, .next = use->first};
	page = (w->next & ~(uint64_t)(FAKE_DMA_PAGE - 1)) | (gpa & (FAKE_DMA_PAGE - 1));
	if (!region) {
		f->stray_gpa = gpa + (w->next - page);
		return;
	}
	end = bytes - 1 < use->last - page ? bytes : use->last - page + 1;
	for (uint64_t i = w->next - page; i < end; i++)
		region->shadow[gpa - region->gpa + i] |= (uint8_t)access;
	w->next = page + end;
}

static inline uint8_t *fake_dma_span(void *self, unsigned reader, uint64_t gpa, uint64_t *bytes, unsigned access)
{
	struct fake_dma *f = self;
	struct fake_region *region = fake_dma_region(f, gpa);
	uint64_t left;

	FAKE_DMA_MUST(reader < FAKE_DMA_READERS);
	if (f->watch) {
		__atomic_fetch_add(&f->generation, 1, __ATOMIC_SEQ_CST);
		f->accesses++;
	}
	if (f->watch && f->accesses == f->fail_at)
		return NULL;
	if (!region || access & ~region->access) {
		__atomic_fetch_add(&f->strays, 1, __ATOMIC_RELAXED);
		if (f->watch)
			fake_dma_mark(f, &f->reader[reader], NULL, gpa, *bytes, access);
		return NULL;
	}
	left = region->bytes - (gpa - region->gpa);
	*bytes = *bytes < left ? *bytes : left;
	if (f->watch)
		fake_dma_mark(f, &f->reader[reader], region, gpa, *bytes, access);
	return region->host + (gpa - region->gpa);
}

static inline void fake_dma_pin(void *self, const uint8_t *host, uint64_t bytes)
{
	struct fake_dma *f = self;
	bool inside = false;

	for (unsigned i = 0; i < f->regions; i++) {
		const struct fake_region *r = &f->region[i];

		inside |= host >= r->host && host - r->host < (ptrdiff_t)r->bytes &&
			  bytes <= r->bytes - (uint64_t)(host - r->host);
	}
	FAKE_DMA_MUST(inside);
	__atomic_fetch_add(&f->pinned, bytes, __ATOMIC_RELAXED);
}

static inline void fake_dma_unpin(void *self, const uint8_t *host, uint64_t bytes)
{
	struct fake_dma *f = self;

	(void)host;
	FAKE_DMA_MUST(__atomic_fetch_sub(&f->pinned, bytes, __ATOMIC_RELAXED) >= bytes);
}

static inline void fake_dma_init(struct fake_dma *f)
{
	memset(f, 0, sizeof(*f));
	f->watch = true;
	f->memory = (struct dma_memory){
		.self = f,
		.span = fake_dma_span,
		.pin = fake_dma_pin,
		.unpin = fake_dma_unpin,
		.generation = &f->generation,
	};
}

/* Zeroed. Regions do not overlap; two that touch are one to the guest and two to the host. */
static inline uint8_t *fake_dma_add(struct fake_dma *f, uint64_t gpa, uint64_t bytes, unsigned access)
{
	struct fake_region *r = &f->region[f->regions];

	FAKE_DMA_MUST(f->regions < FAKE_DMA_REGIONS && (gpa | bytes) % FAKE_DMA_PAGE == 0);
	*r = (struct fake_region){.gpa = gpa, .bytes = bytes, .access = access};
	FAKE_DMA_MUST(posix_memalign((void **)&r->host, FAKE_DMA_PAGE, bytes) == 0);
	r->shadow = calloc(bytes, 1);
	FAKE_DMA_MUST(r->shadow != NULL);
	memset(r->host, 0, bytes);
	f->regions++;
	return r->host;
}

static inline void fake_dma_free(struct fake_dma *f)
{
	for (unsigned i = 0; i < f->regions; i++) {
		free(f->region[i].host);
		free(f->region[i].shadow);
	}
	f->regions = 0;
}

/* A device's gate to this memory; readers are numbers of their own. */
static inline void fake_dma_device(struct fake_dma *f, struct dma *dma, struct iommu_endpoint *endpoint,
				   unsigned reader)
{
	FAKE_DMA_MUST(reader < FAKE_DMA_READERS);
	dma_init(dma, &f->memory, endpoint, reader);
	f->reader[reader] = (struct fake_watched){.dma = dma};
}

/* Devices may do this to the region of gpa from now on. */
static inline void fake_dma_protect(struct fake_dma *f, uint64_t gpa, unsigned access)
{
	struct fake_region *r = fake_dma_region(f, gpa);

	FAKE_DMA_MUST(r != NULL);
	r->access = access;
	__atomic_fetch_add(&f->generation, 1, __ATOMIC_SEQ_CST);
}

/* The driver's own view, which knows no rights: bytes that are contiguous on the host. */
static inline uint8_t *fake_dma_host(struct fake_dma *f, uint64_t gpa, uint64_t bytes)
{
	struct fake_region *r = fake_dma_region(f, gpa);

	FAKE_DMA_MUST(r && bytes <= r->bytes - (gpa - r->gpa));
	return r->host + (gpa - r->gpa);
}

static inline void fake_dma_put(struct fake_dma *f, uint64_t gpa, const void *from, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i++)
		memcpy(fake_dma_host(f, gpa + i, 1), (const uint8_t *)from + i, 1);
}

static inline void fake_dma_get(struct fake_dma *f, uint64_t gpa, void *to, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i++)
		memcpy((uint8_t *)to + i, fake_dma_host(f, gpa + i, 1), 1);
}

/* How many bytes of [gpa, gpa + bytes) a device touched so (any of `access`); holes count for nothing. */
static inline uint64_t fake_dma_touched(struct fake_dma *f, uint64_t gpa, uint64_t bytes, unsigned access)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < bytes; i++) {
		const struct fake_region *r = fake_dma_region(f, gpa + i);

		count += r && r->shadow[gpa + i - r->gpa] & access;
	}
	return count;
}

/* The same, everywhere. */
static inline uint64_t fake_dma_touched_all(const struct fake_dma *f, unsigned access)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < f->regions; i++)
		for (uint64_t j = 0; j < f->region[i].bytes; j++)
			count += (f->region[i].shadow[j] & access) != 0;
	return count;
}

/* A clean shadow, no strays. */
static inline void fake_dma_forget(struct fake_dma *f)
{
	for (unsigned i = 0; i < f->regions; i++)
		memset(f->region[i].shadow, 0, f->region[i].bytes);
	f->strays = f->stray_gpa = 0;
	f->accesses = f->fail_at = 0;
}

#endif
