/* tests/unit/fake_driver.h: the driver's side of one virtqueue, in both formats, as simple as it can be and written
 * from the specification alone, without a look at devices/virtqueue*.c. It lies in a fake_dma's memory.
 *
 *	fake_driver_init(&d, &f, 0x10000, 8, false);     needs FAKE_DRIVER_BYTES from 0x10000 on, in one region
 *	d.event = true;                                  VIRTIO_F_EVENT_IDX was negotiated
 *	fake_driver_lend(&d, &queue);                    tells size and addresses, as a transport does
 *	id = fake_driver_add(&d, buffers, readable, writable, FAKE_DRIVER_DIRECT);
 *	... if (fake_driver_take(&d, &id, &length)) ...
 *
 * Threads: one, beside the device's. */
#ifndef SLAT_TESTS_UNIT_FAKE_DRIVER_H
#define SLAT_TESTS_UNIT_FAKE_DRIVER_H

#include "devices/virtqueue.h"
#include "tests/unit/fake_dma.h"

#define FAKE_DRIVER_AREA     0x2000u /* desc, driver, device, then a table of 256 entries for each id */
#define FAKE_DRIVER_TABLE    0x1000u
#define FAKE_DRIVER_BYTES    (3u * FAKE_DRIVER_AREA + 256u * FAKE_DRIVER_TABLE)
#define FAKE_DRIVER_FULL     0xffffu
#define FAKE_DRIVER_DIRECT   0xffffu /* all buffers are in the ring */
#define FAKE_DRIVER_INDIRECT 0u

struct fake_driver {
	struct fake_dma *f;
	unsigned size;
	bool packed, event;
	uint64_t desc, driver, device, tables;
	uint16_t avail, used; /* as struct virtqueue has them, of the driver */
	bool avail_wrap, used_wrap;
	unsigned free, hint;
	bool busy[256];	       /* split: the descriptor; packed: the id */
	uint16_t next[256];    /* split: as it was written; packed: unused */
	uint16_t entries[256]; /* of the ring, that this id takes */
};

static inline void fake_driver_init(struct fake_driver *d, struct fake_dma *f, uint64_t gpa, unsigned size, bool packed)
{
	*d = (struct fake_driver){.f = f, .size = size, .packed = packed, .free = size};
	d->desc = gpa;
	d->driver = gpa + FAKE_DRIVER_AREA;
	d->device = gpa + 2 * FAKE_DRIVER_AREA;
	d->tables = gpa + 3 * FAKE_DRIVER_AREA;
	d->avail_wrap = d->used_wrap = true;
	memset(fake_dma_host(f, gpa, 3 * FAKE_DRIVER_AREA), 0, 3 * FAKE_DRIVER_AREA);
}

static inline void fake_driver_lend(const struct fake_driver *d, struct virtqueue *q)
{
	q->size = (uint16_t)d->size;
	q->desc = d->desc;
	q->driver = d->driver;
	q->device = d->device;
}

static inline uint16_t *fake_driver_word(const struct fake_driver *d, uint64_t gpa)
{
	return (uint16_t *)(void *)fake_dma_host(d->f, gpa, 2);
}

static inline uint16_t fake_driver_load(const struct fake_driver *d, uint64_t gpa)
{
	return __atomic_load_n(fake_driver_word(d, gpa), __ATOMIC_SEQ_CST);
}

static inline void fake_driver_store(const struct fake_driver *d, uint64_t gpa, uint16_t value)
{
	__atomic_store_n(fake_driver_word(d, gpa), value, __ATOMIC_SEQ_CST);
}

/* ---- split ---- */

static inline uint16_t fake_driver_free_one(struct fake_driver *d)
{
	while (d->busy[d->hint % d->size])
		d->hint++;
	d->busy[d->hint % d->size] = true;
	d->free--;
	return (uint16_t)(d->hint++ % d->size);
}

static inline struct virtq_desc *fake_driver_desc(const struct fake_driver *d, unsigned i)
{
	return (struct virtq_desc *)(void *)fake_dma_host(d->f, d->desc + 16u * i, 16);
}

/* The table of buffers [from, count), readable below `readable`. */
static inline void fake_driver_table(const struct fake_driver *d, uint64_t gpa, const struct virtqueue_buffer *b,
				     unsigned from, unsigned count, unsigned readable)
{
	for (unsigned i = from; i < count; i++, gpa += 16) {
		uint16_t write = i >= readable ? VIRTQ_DESC_WRITE : 0;
		struct virtq_desc desc = {.address = b[i].iova, .length = b[i].bytes};

		if (d->packed) {
			desc.next = write; /* its flags lie there */
		} else {
			desc.flags = (uint16_t)(write | (i + 1 < count ? VIRTQ_DESC_NEXT : 0));
			desc.next = (uint16_t)(i + 1 < count ? i + 1 - from : 0);
		}
		memcpy(fake_dma_host(d->f, gpa, 16), &desc, 16);
	}
}

static inline uint16_t fake_driver_add_split(struct fake_driver *d, const struct virtqueue_buffer *b, unsigned readable,
					     unsigned count, unsigned direct)
{
	unsigned entries = direct < count ? direct + 1 : count;
	uint16_t head = FAKE_DRIVER_FULL, at, before = 0;

	for (unsigned i = 0; i < entries; i++, before = at) {
		struct virtq_desc desc = {0};

		at = fake_driver_free_one(d);
		if (i == 0)
			head = at;
		else
			fake_driver_desc(d, before)->next = d->next[before] = at;
		if (i < direct) {
			desc = (struct virtq_desc){.address = b[i].iova, .length = b[i].bytes};
			desc.flags = i >= readable ? VIRTQ_DESC_WRITE : 0;
		} else {
			desc.address = d->tables + (uint64_t)head * FAKE_DRIVER_TABLE;
			desc.length = 16 * (count - direct);
			desc.flags = VIRTQ_DESC_INDIRECT;
			fake_driver_table(d, desc.address, b, direct, count, readable);
		}
		if (i + 1 < entries)
			desc.flags |= VIRTQ_DESC_NEXT;
		*fake_driver_desc(d, at) = desc;
	}
	d->entries[head] = (uint16_t)entries;
	fake_driver_store(d, d->driver + 4 + 2 * (d->avail % d->size), head);
	d->avail++;
	fake_driver_store(d, d->driver + 2, d->avail);
	return head;
}

static inline bool fake_driver_take_split(struct fake_driver *d, uint16_t *id, uint32_t *length)
{
	struct virtq_used_element element;
	uint16_t at;

	if (fake_driver_load(d, d->device + 2) == d->used)
		return false;
	memcpy(&element, fake_dma_host(d->f, d->device + 4 + 8 * (d->used % d->size), 8), 8);
	d->used++;
	FAKE_DMA_MUST(element.id < d->size);
	*id = at = (uint16_t)element.id;
	*length = element.length;
	for (unsigned i = 0; i < d->entries[*id]; i++, at = d->next[at]) {
		FAKE_DMA_MUST(d->busy[at]); /* each is returned once */
		d->busy[at] = false;
		d->free++;
	}
	return true;
}

/* ---- packed ---- */

static inline uint16_t fake_driver_flags(const struct fake_driver *d)
{
	return d->avail_wrap ? 1u << 7 : 1u << 15;
}

static inline void fake_driver_step(const struct fake_driver *d, uint16_t *index, bool *wrap)
{
	if (++*index == d->size) {
		*index = 0;
		*wrap = !*wrap;
	}
}

static inline uint16_t fake_driver_add_packed(struct fake_driver *d, const struct virtqueue_buffer *b,
					      unsigned readable, unsigned count, bool indirect)
{
	unsigned entries = indirect ? 1 : count;
	uint16_t id = (uint16_t)(d->hint++ % d->size), first = d->avail, first_flags = 0;

	while (d->busy[id])
		id = (uint16_t)((id + 1) % d->size);
	d->busy[id] = true;
	d->free -= entries;
	d->entries[id] = (uint16_t)entries;
	for (unsigned i = 0; i < entries; i++) {
		struct virtq_packed_desc desc = {.address = b[i].iova, .length = b[i].bytes, .id = id};
		uint64_t gpa = d->desc + 16u * d->avail;
		uint16_t flags = fake_driver_flags(d);

		if (indirect) {
			desc.address = d->tables + (uint64_t)id * FAKE_DRIVER_TABLE;
			desc.length = 16 * count;
			flags |= VIRTQ_DESC_INDIRECT;
			fake_driver_table(d, desc.address, b, 0, count, readable);
		} else if (i >= readable) {
			flags |= VIRTQ_DESC_WRITE;
		}
		if (i + 1 < entries)
			flags |= VIRTQ_DESC_NEXT;
		memcpy(fake_dma_host(d->f, gpa, 14), &desc, 14);
		if (i == 0)
			first_flags = flags;
		else
			fake_driver_store(d, gpa + 14, flags);
		fake_driver_step(d, &d->avail, &d->avail_wrap);
	}
	fake_driver_store(d, d->desc + 16u * first + 14, first_flags);
	return id;
}

static inline bool fake_driver_take_packed(struct fake_driver *d, uint16_t *id, uint32_t *length)
{
	uint64_t gpa = d->desc + 16u * d->used;
	uint16_t flags = fake_driver_load(d, gpa + 14);
	struct virtq_packed_desc desc;

	if ((flags >> 7 & 1) != d->used_wrap || (flags >> 15 & 1) != d->used_wrap)
		return false;
	memcpy(&desc, fake_dma_host(d->f, gpa, 14), 14);
	FAKE_DMA_MUST(desc.id < d->size && d->busy[desc.id]);
	*id = desc.id;
	*length = flags & VIRTQ_DESC_WRITE ? desc.length : 0;
	d->busy[desc.id] = false;
	d->free += d->entries[desc.id];
	for (unsigned i = 0; i < d->entries[desc.id]; i++)
		fake_driver_step(d, &d->used, &d->used_wrap);
	return true;
}

/* ---- both ---- */

/* Offers a chain: `readable` buffers, then `writable` ones; the first `direct` of them in the ring, the others in an
 * indirect table (the packed ring has either all in the ring or none). What the device says when it is done with it,
 * or FAKE_DRIVER_FULL: there is no room now. */
static inline uint16_t fake_driver_add(struct fake_driver *d, const struct virtqueue_buffer *b, unsigned readable,
				       unsigned writable, unsigned direct)
{
	unsigned count = readable + writable, entries = direct < count ? direct + 1 : count;

	FAKE_DMA_MUST(count > 0 && count <= 256 && (!d->packed || direct == 0 || direct >= count));
	if (entries > d->free)
		return FAKE_DRIVER_FULL;
	return d->packed ? fake_driver_add_packed(d, b, readable, count, direct == 0)
			 : fake_driver_add_split(d, b, readable, count, direct);
}

/* The next chain that the device is done with; length: what it says that it wrote. */
static inline bool fake_driver_take(struct fake_driver *d, uint16_t *id, uint32_t *length)
{
	return d->packed ? fake_driver_take_packed(d, id, length) : fake_driver_take_split(d, id, length);
}

/* Without an event index: interrupts, or none. */
static inline void fake_driver_interrupts(struct fake_driver *d, bool on)
{
	fake_driver_store(d, d->packed ? d->driver + 2 : d->driver, !on);
}

/* With one: when the ring entry `ahead` behind the next used one is used. */
static inline void fake_driver_interrupt_at(struct fake_driver *d, unsigned ahead)
{
	uint16_t at = d->used;
	bool wrap = d->used_wrap;

	if (!d->packed) {
		fake_driver_store(d, d->driver + 4 + 2 * d->size, (uint16_t)(d->used + ahead));
		return;
	}
	while (ahead--)
		fake_driver_step(d, &at, &wrap);
	fake_driver_store(d, d->driver, (uint16_t)(at | wrap << 15));
	fake_driver_store(d, d->driver + 2, 2);
}

/* Does the device want to hear of the entries that were made available last, `entries` of them: chains in the split
 * ring, descriptors in the packed one? */
static inline bool fake_driver_should_notify(const struct fake_driver *d, unsigned entries)
{
	if (!d->packed && !d->event)
		return fake_driver_load(d, d->device) == 0;
	if (d->packed) {
		uint16_t flags = fake_driver_load(d, d->device + 2) & 3, asked = fake_driver_load(d, d->device);
		unsigned place = (asked & 0x7fffu) + (asked >> 15 == d->avail_wrap ? 0 : d->size);

		if (flags != 2)
			return flags == 0;
		/* Places are counted back from where the driver is: this lap, or the one before. */
		for (unsigned i = 1; i <= entries; i++)
			if (place == (d->avail + 2 * d->size - i) % (2 * d->size))
				return true;
		return false;
	}
	for (unsigned i = 1; i <= entries; i++)
		if (fake_driver_load(d, d->device + 4 + 8 * d->size) == (uint16_t)(d->avail - i))
			return true;
	return false;
}

#endif
