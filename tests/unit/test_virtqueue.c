/* tests/unit/test_virtqueue.c: both rings against a naive driver (fake_driver.h) and a naive record of what it offered;
 * each rule that a driver can break; what a device must and must not do by VIRTIO 1.2, 2.6 to 2.8, cited
 * where it is tested; and driver and device in two threads. */
#include <check.h>
#include <pthread.h>
#include <sched.h>

#include "devices/virtqueue_impl.h"
#include "tests/unit/expect.h"
#include "tests/unit/fake_driver.h"
#include "tests/unit/random.h"

#define SEED	   20261121u
#define RINGS	   0x100000u
#define DATA	   0x1000000u
#define DATA_BYTES 0x40000u /* in four regions, each elsewhere on the host */
#define HOLE	   0x8000000u
#define EVENT	   (UINT64_C(1) << VIRTIO_F_EVENT_IDX)
#define INDIRECT   (UINT64_C(1) << VIRTIO_F_INDIRECT_DESC)
#define PACKED	   (UINT64_C(1) << VIRTIO_F_RING_PACKED)
#define RW	   (DMA_READ | DMA_WRITE)

static struct fake_dma f;
static struct dma dma;
static struct virtqueue q;
static struct fake_driver driver;
static struct virtqueue_chain chain;
static const char *told;
static unsigned tellings;

static void on_break(void *owner, const char *why)
{
	(void)owner;
	told = why;
	tellings++;
}

static void setup(void)
{
	seed(SEED);
	fake_dma_init(&f);
	fake_dma_add(&f, RINGS, FAKE_DRIVER_BYTES, RW);
	for (unsigned i = 0; i < 4; i++)
		fake_dma_add(&f, DATA + i * DATA_BYTES / 4, DATA_BYTES / 4, RW);
	fake_dma_device(&f, &dma, NULL, 0);
	told = NULL;
	tellings = 0;
}

static void teardown(void)
{
	EXPECT(f.pinned == 0);
	fake_dma_free(&f);
}

static void start(unsigned size, uint64_t features)
{
	fake_driver_init(&driver, &f, RINGS, size, features & PACKED);
	driver.event = features & EVENT;
	virtqueue_init(&q, &dma, 256);
	q.breaks = on_break;
	fake_driver_lend(&driver, &q);
	EXPECT(virtqueue_enable(&q, features));
	EXPECT(virtqueue_check(&q));
	fake_dma_forget(&f);
}

/* ---- random chains against a record ---- */

struct offered {
	uint16_t id;
	unsigned readable, writable, entries;
	struct virtqueue_buffer buffer[256];
};

struct used {
	uint16_t id;
	uint32_t written;
};

static struct model {
	uint64_t features;
	unsigned size, in_flight;
	uint64_t offers, pops, pushes, takes; /* chains so far */
	struct offered offered[256];	      /* offers, modulo 256 */
	struct used used[256];		      /* pushes, modulo 256 */
	struct virtqueue_chain flying[256];
	uint64_t offered_entries, popped_entries, used_entries; /* of the ring, so far */
	uint64_t answered_entries;				/* used_entries at the last answer about interrupts */
	bool notify;						/* what the device said last, */
	uint64_t notify_at;					/* and at which entry: */
	bool interrupts;					/* what the driver said last, */
	uint64_t interrupt_at;					/* and at which entry */
} m;

static unsigned laps(void)
{
	return m.features & PACKED ? 2 * m.size : 65536;
}

static struct virtqueue_buffer random_buffer(void)
{
	uint64_t at = below(DATA_BYTES);
	uint64_t most = DATA_BYTES - at;

	return (struct virtqueue_buffer){DATA + at, (uint32_t)(1 + below(most < 9000 ? most : 9000))};
}

static bool model_asked_to_notify(uint64_t entries)
{
	if (!(m.features & EVENT))
		return m.notify;
	if (m.features & PACKED && !m.notify)
		return false;
	for (uint64_t i = m.offered_entries - entries; i < m.offered_entries; i++)
		if (i % laps() == m.notify_at % laps())
			return true;
	return false;
}

static void offer(void)
{
	struct offered *o = &m.offered[m.offers % 256];
	unsigned most = below(4) ? (m.size < 4 ? m.size : 4) : m.size, count = (unsigned)(1 + below(most)), direct;

	o->readable = (unsigned)below(count + 1);
	o->writable = count - o->readable;
	for (unsigned i = 0; i < count; i++)
		o->buffer[i] = random_buffer();
	direct = m.features & INDIRECT && below(2) ? (m.features & PACKED ? 0 : (unsigned)below(count))
						   : FAKE_DRIVER_DIRECT;
	o->entries = direct < count ? direct + 1 : count;
	o->id = fake_driver_add(&driver, o->buffer, o->readable, o->writable, direct);
	if (o->id == FAKE_DRIVER_FULL)
		return;
	if (!(m.features & PACKED))
		o->entries = 1;
	m.offers++;
	m.offered_entries += o->entries;
	EXPECT(fake_driver_should_notify(&driver, o->entries) == model_asked_to_notify(o->entries));
}

static void expect_same(const struct virtqueue_chain *c, const struct offered *o)
{
	uint64_t bytes[2] = {0, 0};

	EXPECT(c->id == o->id && c->entries == o->entries);
	EXPECT(c->readable == o->readable && c->writable == o->writable);
	for (unsigned i = 0; i < o->readable + o->writable; i++) {
		EXPECT(c->buffer[i].iova == o->buffer[i].iova && c->buffer[i].bytes == o->buffer[i].bytes);
		bytes[i >= o->readable] += o->buffer[i].bytes;
	}
	EXPECT(c->readable_bytes == bytes[0] && c->writable_bytes == bytes[1]);
}

/* 2.8.6 "MUST start processing driver descriptors in the order in which they appear in the ring". */
static void take_one(void)
{
	const struct offered *o = &m.offered[m.pops % 256];
	enum virtqueue_result result = virtqueue_pop(&q, &chain);

	EXPECT(result == (m.pops < m.offers ? VIRTQUEUE_OK : VIRTQUEUE_EMPTY));
	if (result != VIRTQUEUE_OK)
		return;
	expect_same(&chain, o);
	if (below(8) == 0) {
		virtqueue_unpop(&q, &chain);
		EXPECT(virtqueue_check(&q));
		return;
	}
	m.flying[m.in_flight++] = chain;
	m.pops++;
	m.popped_entries += o->entries;
}

static void give_back(void)
{
	struct virtqueue_chain *c;
	struct used *u = &m.used[m.pushes % 256];

	if (m.in_flight == 0)
		return;
	c = &m.flying[below(m.in_flight)];
	u->id = c->id;
	u->written = c->writable_bytes && below(3) ? (uint32_t)(1 + below(c->writable_bytes)) : 0;
	EXPECT(virtqueue_push(&q, c, u->written));
	m.pushes++;
	m.used_entries += m.features & PACKED ? c->entries : 1;
	*c = m.flying[--m.in_flight];
}

static void driver_takes(void)
{
	const struct used *u = &m.used[m.takes % 256];
	uint32_t length;
	uint16_t id;
	bool some = fake_driver_take(&driver, &id, &length);

	EXPECT(some == (m.takes < m.pushes));
	if (!some)
		return;
	EXPECT(id == u->id && length == u->written);
	m.takes++;
}

/* 2.7.7.2 and 2.8.10, word by word: one of the entries used since is the one asked for. */
static bool model_interrupts(void)
{
	if (m.used_entries == m.answered_entries)
		return false;
	if (!(m.features & EVENT))
		return m.interrupts;
	for (uint64_t i = m.answered_entries; i < m.used_entries; i++)
		if (i % laps() == m.interrupt_at % laps())
			return true;
	return false;
}

static void burst_ends(void)
{
	EXPECT(virtqueue_wants_interrupt(&q) == model_interrupts());
	m.answered_entries = m.used_entries;
}

static void driver_asks(void)
{
	unsigned ahead = (unsigned)below(m.size);
	uint64_t taken = m.features & PACKED ? driver.used + (driver.used_wrap ? 0u : m.size) : driver.used;

	if (m.features & EVENT) {
		fake_driver_interrupt_at(&driver, ahead);
		m.interrupt_at = taken + ahead;
	} else {
		m.interrupts = below(2);
		fake_driver_interrupts(&driver, m.interrupts);
	}
}

static void device_asks(void)
{
	if (below(2)) {
		EXPECT(virtqueue_notify_on(&q) == (m.offers > m.pops));
		m.notify = true;
		m.notify_at = m.popped_entries;
	} else {
		virtqueue_notify_off(&q);
		m.notify = false;
	}
}

static void run_model(unsigned size, uint64_t features, unsigned steps)
{
	unsigned bias = 0;

	start(size, features);
	memset(&m, 0, sizeof(m));
	m.features = features;
	m.size = size;
	m.notify = m.interrupts = true;
	/* Who never asked for a descriptor is told of all (flags 0): what a packed event area of zeros says. */
	if (features & EVENT && features & PACKED) {
		fake_driver_interrupt_at(&driver, 0);
		EXPECT(!virtqueue_notify_on(&q));
	}
	for (unsigned i = 0; i < steps; i++) {
		if (i % 512 == 0)
			bias = (unsigned)below(3); /* full, empty, or between */
		switch (below(12)) {
		case 0:
		case 1:
			offer();
			break;
		case 2:
		case 3:
			take_one();
			break;
		case 4:
		case 5:
			give_back();
			break;
		case 6:
		case 7:
			driver_takes();
			break;
		case 8:
			burst_ends();
			break;
		case 9:
			driver_asks();
			break;
		case 10:
			device_asks();
			break;
		default:
			if (bias == 0)
				offer();
			else if (bias == 1)
				give_back();
		}
		EXPECT(virtqueue_check(&q));
		EXPECT(q.in_flight == m.in_flight && !q.broken && q.chains == m.pops);
	}
	EXPECT(f.strays == 0 && dma.stats.faults == 0);
	EXPECT(m.takes > steps / 40);
}

static const uint64_t feature_sets[] = {0, EVENT, INDIRECT, EVENT | INDIRECT};

START_TEST(random_chains_split)
{
	static const unsigned sizes[] = {1, 2, 4, 16, 256};

	f.watch = false;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		run_model(sizes[i], feature_sets[_i], 60000);
}
END_TEST

START_TEST(random_chains_packed)
{
	static const unsigned sizes[] = {1, 2, 3, 7, 16, 100, 256};

	f.watch = false;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		run_model(sizes[i], feature_sets[_i] | PACKED, 60000);
}
END_TEST

/* The same, watched: the device touches rings and tables alone, and writes where it may alone: 2.7.5.1 "MUST NOT write
 * to any descriptor table entry", 2.7.8 "only written to by the device". */
START_TEST(random_chains_touch_the_ring_alone)
{
	unsigned size = 16;

	run_model(size, feature_sets[3], 5000);
	EXPECT(fake_dma_touched_all(&f, DMA_WRITE) == fake_dma_touched(&f, driver.device, 6 + 8 * size, DMA_WRITE));
	EXPECT(fake_dma_touched_all(&f, RW) ==
	       fake_dma_touched(&f, driver.device, 6 + 8 * size, DMA_WRITE) +
		       fake_dma_touched(&f, driver.driver, 6 + 2 * size, DMA_READ) +
		       fake_dma_touched(&f, driver.desc, 16 * size, DMA_READ) +
		       fake_dma_touched(&f, driver.tables, size * FAKE_DRIVER_TABLE, DMA_READ));
	fake_dma_forget(&f);
	run_model(size, feature_sets[3] | PACKED, 5000);
	EXPECT(fake_dma_touched_all(&f, DMA_WRITE) == fake_dma_touched(&f, driver.desc, 16 * size, DMA_WRITE) +
							      fake_dma_touched(&f, driver.device, 4, DMA_WRITE));
	EXPECT(fake_dma_touched_all(&f, RW) ==
	       fake_dma_touched(&f, driver.device, 4, DMA_WRITE) + fake_dma_touched(&f, driver.driver, 4, DMA_READ) +
		       fake_dma_touched(&f, driver.desc, 16 * size, RW) +
		       fake_dma_touched(&f, driver.tables, size * FAKE_DRIVER_TABLE, DMA_READ));
}
END_TEST

/* Both indexes of 16 bits, or the wrap counters, go round several times, and each interrupt comes exactly. */
START_TEST(indexes_wrap)
{
	const struct virtqueue_buffer b = {DATA, 64};
	uint32_t length;
	uint16_t id;

	f.watch = false;
	for (unsigned format = 0; format < 2; format++) {
		start(format ? 3 : 2, EVENT | (format ? PACKED : 0));
		for (unsigned i = 0; i < 200000; i++) {
			bool asked = i % 3 == 0;

			/* Behind the next one there is another place: not asked for yet. */
			fake_driver_interrupt_at(&driver, asked ? 0 : 1);
			EXPECT(!virtqueue_notify_on(&q));
			EXPECT(fake_driver_add(&driver, &b, 1, 0, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL);
			EXPECT(fake_driver_should_notify(&driver, 1));
			EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK && virtqueue_push(&q, &chain, 0));
			EXPECT(virtqueue_wants_interrupt(&q) == asked);
			EXPECT(fake_driver_take(&driver, &id, &length) && virtqueue_check(&q));
		}
	}
}
END_TEST

/* ---- what enabling takes ---- */

static bool enables(uint16_t size, uint64_t desc, uint64_t drivers, uint64_t device, uint64_t features)
{
	bool on;

	virtqueue_init(&q, &dma, 64);
	q.size = size;
	q.desc = desc;
	q.driver = drivers;
	q.device = device;
	on = virtqueue_enable(&q, features);
	EXPECT(q.ready == on && virtqueue_check(&q));
	return on;
}

/* 2.7, 2.8: sizes and alignments; and no part may wrap around the end of the address space. */
START_TEST(enable_judges_size_and_place)
{
	EXPECT(enables(64, 16, 2, 4, 0) && enables(1, 16, 2, 4, 0));
	EXPECT(!enables(0, 16, 2, 4, 0) && !enables(3, 16, 2, 4, 0) && !enables(128, 16, 2, 4, 0));
	EXPECT(!enables(4, 8, 2, 4, 0) && !enables(4, 16, 1, 4, 0) && !enables(4, 16, 2, 2, 0));
	EXPECT(enables(3, 16, 4, 4, PACKED) && enables(63, 16, 4, 4, PACKED));
	EXPECT(!enables(0, 16, 4, 4, PACKED) && !enables(65, 16, 4, 4, PACKED));
	EXPECT(!enables(4, 8, 4, 4, PACKED) && !enables(4, 16, 2, 4, PACKED) && !enables(4, 16, 4, 2, PACKED));
	EXPECT(enables(4, UINT64_MAX - 63, 2, 4, 0) && !enables(4, UINT64_MAX - 47, 2, 4, 0));
	EXPECT(enables(4, 16, UINT64_MAX - 13, 4, 0) && !enables(4, 16, UINT64_MAX - 11, 4, 0));
	EXPECT(enables(4, 16, 2, UINT64_MAX - 39, 0) && !enables(4, 16, 2, UINT64_MAX - 35, 0));
	EXPECT(enables(4, 16, UINT64_MAX - 3, UINT64_MAX - 3, PACKED));
	virtqueue_init(&q, &dma, 9999);
	EXPECT(q.size_max == VIRTQUEUE_SIZE_MAX);
}
END_TEST

/* 4.2.2.1 "MUST NOT access virtqueue contents when QueueReady is zero". */
START_TEST(an_idle_queue_touches_nothing)
{
	uint8_t byte = 0;
	uint64_t mapped;
	struct dma_list list = {0};
	const struct virtqueue_buffer b = {DATA, 64};

	start(4, 0);
	EXPECT(!virtqueue_enable(&q, 0)); /* it is on already */
	EXPECT(fake_driver_add(&driver, &b, 1, 0, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL);
	EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK);
	virtqueue_reset(&q);
	fake_dma_forget(&f);
	EXPECT(q.size == 0 && q.desc == 0 && q.size_max == 256 && virtqueue_check(&q));
	EXPECT(!virtqueue_push(&q, &chain, 0) && virtqueue_pop(&q, &chain) == VIRTQUEUE_EMPTY);
	virtqueue_unpop(&q, &chain);
	EXPECT(!virtqueue_wants_interrupt(&q) && !virtqueue_notify_on(&q));
	virtqueue_notify_off(&q);
	EXPECT(!virtqueue_read(&q, &chain, 0, &byte, 0) && !virtqueue_write(&q, &chain, 0, &byte, 0));
	EXPECT(virtqueue_map(&q, &chain, DMA_READ, 0, 1, &list, &mapped) == DMA_FAULT);
	EXPECT(f.accesses == 0 && !q.broken);
}
END_TEST

/* ---- each rule that a driver can break ---- */

static void split_desc(unsigned i, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	*fake_driver_desc(&driver, i) = (struct virtq_desc){address, length, flags, next};
}

static void split_offer(uint16_t head)
{
	fake_driver_store(&driver, driver.driver + 4, head);
	fake_driver_store(&driver, driver.driver + 2, 1);
}

static void table_desc(unsigned i, uint64_t address, uint32_t length, uint16_t at12, uint16_t at14)
{
	struct virtq_desc desc = {address, length, at12, at14};

	fake_dma_put(&f, driver.tables + 16 * i, &desc, sizeof(desc));
}

static void head_out_of_range(void)
{
	split_offer(4);
}

static void next_out_of_range(void)
{
	split_desc(0, DATA, 1, VIRTQ_DESC_NEXT, 4);
	split_offer(0);
}

static void loop(void)
{
	split_desc(0, DATA, 1, VIRTQ_DESC_NEXT, 1);
	split_desc(1, DATA, 1, VIRTQ_DESC_NEXT, 0);
	split_offer(0);
}

static void loop_in_table(void)
{
	split_desc(0, driver.tables, 32, VIRTQ_DESC_INDIRECT, 0);
	table_desc(0, DATA, 1, VIRTQ_DESC_NEXT, 1);
	table_desc(1, DATA, 1, VIRTQ_DESC_NEXT, 0);
	split_offer(0);
}

static void table_too_long(void)
{
	split_desc(0, driver.tables, 80, VIRTQ_DESC_INDIRECT, 0);
	for (uint16_t i = 0; i < 5; i++)
		table_desc(i, DATA, 1, i < 4 ? VIRTQ_DESC_NEXT : 0, i + 1);
	split_offer(0);
}

static void next_out_of_table(void)
{
	split_desc(0, driver.tables, 32, VIRTQ_DESC_INDIRECT, 0);
	table_desc(0, DATA, 1, VIRTQ_DESC_NEXT, 2);
	split_offer(0);
}

static void no_bytes(void)
{
	split_desc(0, DATA, 0, 0, 0);
	split_offer(0);
}

static void no_bytes_in_table(void)
{
	split_desc(0, driver.tables, 16, VIRTQ_DESC_INDIRECT, 0);
	table_desc(0, DATA, 0, 0, 0);
	split_offer(0);
}

static void readable_last(void)
{
	split_desc(0, DATA, 1, VIRTQ_DESC_NEXT | VIRTQ_DESC_WRITE, 1);
	split_desc(1, DATA, 1, 0, 0);
	split_offer(0);
}

static void too_many_bytes(void)
{
	split_desc(0, 0, UINT32_MAX, VIRTQ_DESC_NEXT, 1);
	split_desc(1, 0, 2, VIRTQ_DESC_WRITE, 0);
	split_offer(0);
}

static void indirect(void)
{
	split_desc(0, driver.tables, 16, VIRTQ_DESC_INDIRECT, 0);
	table_desc(0, DATA, 1, 0, 0);
	split_offer(0);
}

static void indirect_and_next(void)
{
	indirect();
	split_desc(0, driver.tables, 16, VIRTQ_DESC_INDIRECT | VIRTQ_DESC_NEXT, 1);
}

static void indirect_twice(void)
{
	indirect();
	table_desc(0, driver.tables, 16, VIRTQ_DESC_INDIRECT, 0);
}

static void empty_table(void)
{
	indirect();
	split_desc(0, driver.tables, 0, VIRTQ_DESC_INDIRECT, 0);
}

static void cut_table(void)
{
	indirect();
	split_desc(0, driver.tables, 24, VIRTQ_DESC_INDIRECT, 0);
}

static void table_in_hole(void)
{
	indirect();
	split_desc(0, HOLE, 16, VIRTQ_DESC_INDIRECT, 0);
}

static void index_ahead(void)
{
	fake_driver_store(&driver, driver.driver + 2, 5);
}

static void index_back(void)
{
	fake_driver_store(&driver, driver.driver + 2, 0xffff);
}

/* All four descriptors are the device's; the driver offers one more. */
static void index_ahead_of_flight(void)
{
	const struct virtqueue_buffer b = {DATA, 1};

	for (unsigned i = 0; i < 4; i++) {
		EXPECT(fake_driver_add(&driver, &b, 1, 0, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL);
		EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK);
	}
	fake_driver_store(&driver, driver.driver + 2, 5);
}

static void index_back_to_flight(void)
{
	const struct virtqueue_buffer b = {DATA, 1};

	EXPECT(fake_driver_add(&driver, &b, 1, 0, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL);
	EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK);
	fake_driver_store(&driver, driver.driver + 2, 0);
}

static void avail_in_hole(void)
{
	q.driver = HOLE;
}

static void avail_across_hole(void)
{
	q.driver = DATA + DATA_BYTES - 4; /* flags and index are there, the ring is not */
	fake_driver_store(&driver, q.driver + 2, 1);
}

static void desc_in_hole(void)
{
	q.desc = HOLE;
	split_offer(0);
}

static void desc_across_hole(void)
{
	q.desc = DATA + DATA_BYTES - 16;
	fake_driver_store(&driver, q.desc + 8, 1);
	fake_driver_store(&driver, q.desc + 12, VIRTQ_DESC_NEXT);
	fake_driver_store(&driver, q.desc + 14, 1);
	split_offer(0);
}

#define AVAILABLE (1u << VIRTQ_PACKED_AVAIL_SHIFT)

static void packed_desc(unsigned i, uint64_t address, uint32_t length, unsigned flags)
{
	struct virtq_packed_desc desc = {address, length, 7, (uint16_t)flags};

	fake_dma_put(&f, driver.desc + 16 * i, &desc, sizeof(desc));
}

static void packed_no_bytes(void)
{
	packed_desc(0, DATA, 0, AVAILABLE);
}

static void packed_endless(void)
{
	for (unsigned i = 0; i < 4; i++)
		packed_desc(i, DATA, 1, AVAILABLE | VIRTQ_DESC_NEXT);
}

static void packed_half(void)
{
	packed_desc(0, DATA, 1, AVAILABLE | VIRTQ_DESC_NEXT);
}

static void packed_readable_last(void)
{
	packed_desc(0, DATA, 1, AVAILABLE | VIRTQ_DESC_NEXT | VIRTQ_DESC_WRITE);
	packed_desc(1, DATA, 1, AVAILABLE);
}

static void packed_too_many_bytes(void)
{
	packed_desc(0, DATA, UINT32_MAX, AVAILABLE | VIRTQ_DESC_NEXT);
	packed_desc(1, DATA, 2, AVAILABLE);
}

static void packed_indirect(void)
{
	packed_desc(0, driver.tables, 32, AVAILABLE | VIRTQ_DESC_INDIRECT);
	table_desc(0, DATA, 1, 0, 0);
	table_desc(1, DATA, 1, 0, VIRTQ_DESC_WRITE);
}

static void packed_indirect_and_next(void)
{
	packed_indirect();
	packed_desc(0, driver.tables, 32, AVAILABLE | VIRTQ_DESC_INDIRECT | VIRTQ_DESC_NEXT);
}

static void packed_indirect_behind(void)
{
	packed_indirect();
	packed_desc(0, DATA, 1, AVAILABLE | VIRTQ_DESC_NEXT);
	packed_desc(1, driver.tables, 32, AVAILABLE | VIRTQ_DESC_INDIRECT);
}

static void packed_table_too_long(void)
{
	packed_desc(0, driver.tables, 80, AVAILABLE | VIRTQ_DESC_INDIRECT);
	for (unsigned i = 0; i < 5; i++)
		table_desc(i, DATA, 1, 0, 0);
}

static void packed_empty_table(void)
{
	packed_desc(0, driver.tables, 0, AVAILABLE | VIRTQ_DESC_INDIRECT);
}

static void packed_cut_table(void)
{
	packed_desc(0, driver.tables, 31, AVAILABLE | VIRTQ_DESC_INDIRECT);
}

static void packed_table_in_hole(void)
{
	packed_desc(0, HOLE, 16, AVAILABLE | VIRTQ_DESC_INDIRECT);
}

static void packed_no_bytes_in_table(void)
{
	packed_indirect();
	table_desc(1, DATA, 0, 0, 0);
}

static void packed_ring_in_hole(void)
{
	q.desc = HOLE;
}

static void packed_ring_across_hole(void)
{
	q.desc = DATA + DATA_BYTES - 16;
	fake_driver_store(&driver, q.desc + 8, 1);
	fake_driver_store(&driver, q.desc + 14, AVAILABLE | VIRTQ_DESC_NEXT);
}

/* One chain of three is the device's; the driver offers two more descriptors of the four. */
static void packed_overlap(void)
{
	const struct virtqueue_buffer b[3] = {{DATA, 1}, {DATA, 1}, {DATA, 1}};

	EXPECT(fake_driver_add(&driver, b, 3, 0, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL);
	EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK);
	packed_desc(3, DATA, 1, AVAILABLE | VIRTQ_DESC_NEXT);
	packed_desc(0, DATA, 1, 1u << VIRTQ_PACKED_USED_SHIFT);
}

static const struct rule {
	const char *why;
	uint64_t features;
	void (*spoil)(void);
	unsigned strays;
} rules[] = {
	{"a descriptor's index out of range", 0, head_out_of_range, 0},
	{"a descriptor's index out of range", 0, next_out_of_range, 0},
	{"a chain longer than its queue", 0, loop, 0},
	{"a chain longer than its queue", INDIRECT, loop_in_table, 0},
	{"a chain longer than its queue", INDIRECT, table_too_long, 0},
	{"a descriptor's index out of range", INDIRECT, next_out_of_table, 0},
	{"a descriptor of no bytes", 0, no_bytes, 0},
	{"a descriptor of no bytes", INDIRECT, no_bytes_in_table, 0},
	{"a readable descriptor behind a writable one", 0, readable_last, 0}, /* 2.7.4.2 */
	{"a chain of more than 4 GiB", 0, too_many_bytes, 0},		      /* 2.7.5.2 */
	{"an indirect descriptor that was not negotiated", 0, indirect, 0},
	{"an indirect descriptor that has a next one", INDIRECT, indirect_and_next, 0},
	{"an indirect descriptor inside an indirect table", INDIRECT, indirect_twice, 0},
	{"an indirect table that is no whole number of descriptors", INDIRECT, empty_table, 0},
	{"an indirect table that is no whole number of descriptors", INDIRECT, cut_table, 0},
	{"an indirect table that is not mapped", INDIRECT, table_in_hole, 1},
	{"an available index that goes back or too far", 0, index_ahead, 0},
	{"an available index that goes back or too far", 0, index_back, 0},
	{"an available index that goes back or too far", 0, index_ahead_of_flight, 0},
	{"an available index that goes back or too far", 0, index_back_to_flight, 0}, /* 2.7.6.1 */
	{"an available ring that is not mapped", 0, avail_in_hole, 1},
	{"an available ring that is not mapped", 0, avail_across_hole, 1},
	{"a descriptor table that is not mapped", 0, desc_in_hole, 1},
	{"a descriptor table that is not mapped", 0, desc_across_hole, 1},
	{"a descriptor of no bytes", PACKED, packed_no_bytes, 0},
	{"more descriptors in flight than the ring has", PACKED, packed_endless, 0},
	{"a chain that is not all available", PACKED, packed_half, 0},
	{"a readable descriptor behind a writable one", PACKED, packed_readable_last, 0},
	{"a chain of more than 4 GiB", PACKED, packed_too_many_bytes, 0},
	{"an indirect descriptor that was not negotiated", PACKED, packed_indirect, 0},
	{"an indirect descriptor in a chain", PACKED | INDIRECT, packed_indirect_and_next, 0},
	{"an indirect descriptor in a chain", PACKED | INDIRECT, packed_indirect_behind, 0},
	{"a chain longer than its queue", PACKED | INDIRECT, packed_table_too_long, 0},
	{"an indirect table that is no whole number of descriptors", PACKED | INDIRECT, packed_empty_table, 0},
	{"an indirect table that is no whole number of descriptors", PACKED | INDIRECT, packed_cut_table, 0},
	{"an indirect table that is not mapped", PACKED | INDIRECT, packed_table_in_hole, 1},
	{"a descriptor of no bytes", PACKED | INDIRECT, packed_no_bytes_in_table, 0},
	{"a descriptor ring that is not mapped", PACKED, packed_ring_in_hole, 1},
	{"a descriptor ring that is not mapped", PACKED, packed_ring_across_hole, 1},
	{"more descriptors in flight than the ring has", PACKED, packed_overlap, 0},
};

#define RULES ((int)(sizeof(rules) / sizeof(rules[0])))

static void expect_dead(void)
{
	uint64_t accesses = f.accesses, mapped;
	struct dma_list list = {0};
	uint8_t byte = 0;

	EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_EMPTY && !virtqueue_push(&q, &chain, 0));
	EXPECT(!virtqueue_wants_interrupt(&q) && !virtqueue_notify_on(&q));
	virtqueue_notify_off(&q);
	EXPECT(!virtqueue_read(&q, &chain, 0, &byte, 0) && !virtqueue_write(&q, &chain, 0, &byte, 0));
	EXPECT(virtqueue_map(&q, &chain, DMA_WRITE, 0, 0, &list, &mapped) == DMA_FAULT);
	EXPECT(f.accesses == accesses && tellings == 1 && told == q.broken && virtqueue_check(&q));
}

/* Said once, with the phrase; not a byte written, nor any but the ring's and its table's read; dead until it is reset,
 * and sound after it. */
START_TEST(broken_rule)
{
	const struct rule *r = &rules[_i];
	const struct virtqueue_buffer b = {DATA, 64};

	start(4, r->features);
	r->spoil();
	EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_BROKEN);
	ck_assert_str_eq(q.broken, r->why);
	EXPECT(fake_dma_touched_all(&f, DMA_WRITE) == 0);
	EXPECT(fake_dma_touched(&f, DATA, DATA_BYTES - 16, RW) == 0);
	EXPECT(f.strays == r->strays && dma.stats.faults == r->strays);
	expect_dead();

	virtqueue_reset(&q);
	start(4, r->features);
	EXPECT(fake_driver_add(&driver, &b, 1, 0, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL);
	EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK);
}
END_TEST

static void pop_one(unsigned readable, unsigned writable)
{
	struct virtqueue_buffer b[4];

	for (unsigned i = 0; i < 4; i++)
		b[i] = (struct virtqueue_buffer){DATA + 64 * i, 32};
	EXPECT(fake_driver_add(&driver, b, readable, writable, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL);
	EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK);
}

START_TEST(a_used_ring_that_is_read_only)
{
	start(4, 0);
	pop_one(1, 0);
	fake_dma_protect(&f, RINGS, DMA_READ);
	EXPECT(!virtqueue_push(&q, &chain, 0));
	ck_assert_str_eq(q.broken, "a used ring that cannot be written");
	EXPECT(fake_driver_load(&driver, driver.device + 2) == 0);
	expect_dead();
}
END_TEST

START_TEST(a_packed_ring_that_is_read_only)
{
	start(4, PACKED);
	pop_one(1, 0);
	fake_dma_protect(&f, RINGS, DMA_READ);
	EXPECT(!virtqueue_push(&q, &chain, 0));
	ck_assert_str_eq(q.broken, "a descriptor ring that cannot be written");
	expect_dead();
}
END_TEST

START_TEST(areas_of_notification_that_are_not_there)
{
	static const uint64_t sets[] = {0, EVENT, PACKED, PACKED | EVENT};

	for (unsigned i = 0; i < 4; i++) {
		tellings = 0;
		start(4, sets[i]);
		pop_one(1, 0);
		EXPECT(virtqueue_push(&q, &chain, 0));
		q.driver = HOLE;
		EXPECT(!virtqueue_wants_interrupt(&q));
		ck_assert_str_eq(q.broken, i < 2 ? "an available ring that is not mapped"
						 : "an event suppression area that is not mapped");
		expect_dead();

		tellings = 0;
		start(4, sets[i]);
		q.device = HOLE;
		virtqueue_notify_off(&q);
		(void)virtqueue_notify_on(&q);
		if (sets[i] == EVENT) /* there was nothing to say before */
			EXPECT(!virtqueue_notify_on(&q));
		ck_assert_str_eq(q.broken, i < 2 ? "a used ring that cannot be written"
						 : "an event suppression area that cannot be written");
		expect_dead();

		tellings = 0;
		start(4, sets[i]);
		fake_dma_forget(&f);
		*(i < 2 ? &q.driver : &q.desc) = HOLE;
		EXPECT(!virtqueue_notify_on(&q)); /* the last look fails */
		EXPECT(q.broken != NULL);
		expect_dead();
	}
}
END_TEST

START_TEST(buffers_that_are_not_there)
{
	struct virtqueue_buffer b[2] = {{HOLE, 32}, {HOLE, 32}};
	struct dma_segment segment[4];
	struct dma_list list = {.segment = segment, .room = 4};
	uint64_t mapped;
	uint8_t bytes[32];

	for (unsigned i = 0; i < 4; i++) {
		tellings = 0;
		start(4, 0);
		EXPECT(fake_driver_add(&driver, b, 1, 1, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL);
		EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK);
		if (i < 2)
			EXPECT(!(i ? virtqueue_write(&q, &chain, 0, bytes, 32)
				   : virtqueue_read(&q, &chain, 0, bytes, 32)));
		else
			EXPECT(virtqueue_map(&q, &chain, i == 2 ? DMA_READ : DMA_WRITE, 0, 32, &list, &mapped) ==
			       DMA_FAULT);
		ck_assert_str_eq(q.broken, i % 2 ? "a buffer that cannot be written" : "a buffer that cannot be read");
		EXPECT(f.strays == 1);
		expect_dead();
	}
}
END_TEST

/* 2.7.5.1, 2.8.12.1 "MUST NOT write to a device-readable buffer": not even when asked to. */
START_TEST(rights_of_buffers_are_their_own)
{
	uint8_t bytes[64] = {0};

	start(4, 0);
	pop_one(2, 1);
	fake_dma_forget(&f);
	EXPECT(!virtqueue_write(&q, &chain, 0, bytes, 33) && !virtqueue_write(&q, &chain, 33, bytes, 0));
	EXPECT(!virtqueue_read(&q, &chain, 0, bytes, 65) && !virtqueue_read(&q, &chain, UINT64_MAX, bytes, 2));
	EXPECT(f.accesses == 0);
	EXPECT(virtqueue_write(&q, &chain, 0, bytes, 32) && virtqueue_read(&q, &chain, 0, bytes, 64));
	EXPECT(virtqueue_write(&q, &chain, 32, bytes, 0) && virtqueue_read(&q, &chain, 64, bytes, 0));
	EXPECT(fake_dma_touched(&f, DATA + 128, 32, RW) == 32 && fake_dma_touched_all(&f, DMA_WRITE) == 32);
	EXPECT(fake_dma_touched_all(&f, DMA_READ) == 64);
}
END_TEST

/* ---- the bytes of a chain ---- */

static void expect_bytes(const struct virtqueue_buffer *b, unsigned count, uint64_t offset, const uint8_t *expected,
			 uint64_t bytes)
{
	for (unsigned i = 0; i < count; i++)
		for (uint32_t j = 0; j < b[i].bytes; j++) {
			if (offset-- > 0)
				continue;
			offset = 0;
			if (bytes-- == 0)
				return;
			EXPECT(*fake_dma_host(&f, b[i].iova + j, 1) == *expected++);
		}
}

static uint64_t list_copy(const struct dma_list *list, uint8_t *to)
{
	uint64_t done = 0;

	for (unsigned i = 0; i < list->count; done += list->segment[i++].bytes)
		memcpy(to + done, list->segment[i].host, list->segment[i].bytes);
	return done;
}

/* 2.7.4.1 "MUST NOT make assumptions about the particular arrangement of descriptors": however the driver cuts, the
 * bytes are the same; by copy and by map, across buffers and across pieces of host memory. */
START_TEST(framing_means_nothing)
{
	static uint8_t bytes[32 * 9000], got[32 * 9000];
	struct dma_segment segment[64];
	uint64_t in_all = 0;

	for (unsigned round = 0; round < 300; round++) {
		struct dma_list list = {.segment = segment, .room = (unsigned)(1 + below(12))};
		struct virtqueue_buffer b[16];
		unsigned count = (unsigned)(1 + below(8));
		uint64_t total[2] = {0, 0}, offset, length, mapped;

		start(16, round % 2 ? PACKED : 0);
		for (unsigned i = 0; i < 2 * count; i++) {
			b[i] = random_buffer();
			/* No two buffers share a byte: a driver's own affair, but the record here knows no overlap. */
			b[i].iova = DATA + i * (DATA_BYTES / 16) + below(1000);
			total[i / count] += b[i].bytes = (uint32_t)(1 + below(DATA_BYTES / 16 - 1000));
		}
		EXPECT(fake_driver_add(&driver, b, count, count, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL);
		EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK);
		for (uint64_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)below(256);

		offset = below(total[1]);
		length = 1 + below(total[1] - offset);
		EXPECT(virtqueue_write(&q, &chain, offset, bytes, length));
		expect_bytes(b + count, count, offset, bytes, length);
		EXPECT(virtqueue_map(&q, &chain, DMA_WRITE, offset, length, &list, &mapped) == DMA_OK);
		EXPECT(mapped == list.bytes && (mapped == length || list.count == list.room));
		EXPECT(list_copy(&list, got) == mapped && memcmp(got, bytes, mapped) == 0 && f.pinned == mapped);
		dma_unmap(&dma, &list);
		in_all += mapped == length;

		for (unsigned i = 0, at = 0; i < count; at += b[i++].bytes)
			fake_dma_put(&f, b[i].iova, bytes + at, b[i].bytes);
		offset = below(total[0]);
		length = 1 + below(total[0] - offset);
		EXPECT(virtqueue_read(&q, &chain, offset, got, length) && memcmp(got, bytes + offset, length) == 0);
		EXPECT(virtqueue_map(&q, &chain, DMA_READ, offset, length, &list, &mapped) == DMA_OK);
		EXPECT(list_copy(&list, got) == mapped && memcmp(got, bytes + offset, mapped) == 0);
		dma_unmap(&dma, &list);
		EXPECT(f.strays == 0 && f.pinned == 0);
	}
	EXPECT(in_all > 100 && in_all < 300); /* lists that were full, and lists that were not */
}
END_TEST

START_TEST(map_says_busy_only_with_nothing)
{
	static struct dma_segment segment[2 * FLIGHT_SLOTS];
	static struct dma_list held[FLIGHT_SLOTS];
	struct dma_list list = {.segment = segment + FLIGHT_SLOTS, .room = 8};
	unsigned count = 0;
	uint64_t mapped;

	start(4, 0);
	pop_one(4, 0);
	EXPECT(virtqueue_map(&q, &chain, DMA_READ, 128, 0, &list, &mapped) == DMA_OK && mapped == 0);
	for (;; count++) {
		held[count] = (struct dma_list){.segment = &segment[count], .room = 1};
		if (dma_map(&dma, DATA, 1, DMA_READ, &held[count], &mapped) != DMA_OK)
			break;
	}
	EXPECT(virtqueue_map(&q, &chain, DMA_READ, 0, 128, &list, &mapped) == DMA_BUSY && mapped == 0);
	dma_unmap(&dma, &held[0]);
	dma_unmap(&dma, &held[1]);
	EXPECT(virtqueue_map(&q, &chain, DMA_READ, 0, 128, &list, &mapped) == DMA_OK && mapped == 64);
	EXPECT(!q.broken);
	dma_unmap(&dma, &list);
	for (unsigned i = 2; i < count; i++)
		dma_unmap(&dma, &held[i]);
}
END_TEST

/* ---- single sentences of the specification ---- */

/* 2.7.5.3.2 "MUST ignore the write-only flag in the descriptor that refers to an indirect table". */
START_TEST(split_write_flag_of_an_indirect_descriptor_is_ignored)
{
	start(4, INDIRECT);
	indirect();
	split_desc(0, driver.tables, 16, VIRTQ_DESC_INDIRECT | VIRTQ_DESC_WRITE, 0);
	EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK && chain.readable == 1 && chain.writable == 0);
}
END_TEST

/* 2.7.5.3.2 "MUST handle the case of zero or more normal chained descriptors followed by a single descriptor with
 * flags & INDIRECT". */
START_TEST(split_direct_then_indirect)
{
	struct virtqueue_buffer b[5];

	for (unsigned direct = 0; direct < 4; direct++) {
		start(8, INDIRECT);
		for (unsigned i = 0; i < 5; i++)
			b[i] = (struct virtqueue_buffer){DATA + 100 * i, 10 + i};
		EXPECT(fake_driver_add(&driver, b, 2, 3, direct) != FAKE_DRIVER_FULL);
		EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK && chain.readable == 2 && chain.writable == 3);
		for (unsigned i = 0; i < 5; i++)
			EXPECT(chain.buffer[i].iova == b[i].iova && chain.buffer[i].bytes == b[i].bytes);
	}
}
END_TEST

/* A table may be longer than a chain in it, and the chain may go through it in any order. */
START_TEST(split_sparse_table)
{
	start(4, INDIRECT);
	split_desc(0, driver.tables, 200 * 16, VIRTQ_DESC_INDIRECT, 0);
	table_desc(0, DATA, 1, VIRTQ_DESC_NEXT, 199);
	table_desc(199, DATA + 1, 1, VIRTQ_DESC_NEXT, 100);
	table_desc(100, DATA + 2, 1, VIRTQ_DESC_NEXT, 101);
	table_desc(101, DATA + 3, 1, 0, 0);
	split_offer(0);
	EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK && chain.readable == 4);
	for (unsigned i = 0; i < 4; i++)
		EXPECT(chain.buffer[i].iova == DATA + i);
}
END_TEST

/* 2.8.7 "The WRITE bit is the only valid flag for descriptors in the indirect table. Others are reserved and are
 * ignored by the device. Buffer ID is also reserved and is ignored"; "In descriptors with INDIRECT set WRITE is
 * reserved and is ignored". */
START_TEST(packed_flags_of_a_table_are_ignored)
{
	start(4, PACKED | INDIRECT);
	packed_desc(0, driver.tables, 32, AVAILABLE | VIRTQ_DESC_INDIRECT | VIRTQ_DESC_WRITE);
	table_desc(0, DATA, 1, 0xffff, (uint16_t)~VIRTQ_DESC_WRITE);
	table_desc(1, DATA, 1, 0xffff, 0xffff);
	EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK && chain.readable == 1 && chain.writable == 1);
	EXPECT(chain.id == 7 && chain.entries == 1);
}
END_TEST

/* A chain of exactly 4 GiB is one; none of its bytes is touched. */
START_TEST(four_gib_are_allowed)
{
	start(4, 0);
	split_desc(0, 0, UINT32_MAX, VIRTQ_DESC_NEXT, 1);
	split_desc(1, 0, 1, VIRTQ_DESC_WRITE, 0);
	split_offer(0);
	EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK);
	EXPECT(chain.readable_bytes + chain.writable_bytes == UINT64_C(1) << 32 && f.strays == 0);
}
END_TEST

/* 2.7.7.2: without VIRTIO_F_EVENT_IDX "MUST ignore the used_event value", flags 0 "MUST send", flags 1 "SHOULD NOT";
 * with it "MUST ignore the lower bit of flags", index equal to used_event "MUST send", otherwise "SHOULD NOT". */
START_TEST(split_interrupt_suppression)
{
	for (unsigned bits = 0; bits < 8; bits++) {
		bool event = bits & 1, flag = bits & 2, hit = bits & 4;

		start(4, event ? EVENT : 0);
		EXPECT(!virtqueue_wants_interrupt(&q)); /* nothing was used */
		fake_driver_store(&driver, driver.driver, flag);
		fake_driver_store(&driver, driver.driver + 4 + 2 * 4, hit ? 0 : 1);
		pop_one(1, 0);
		EXPECT(virtqueue_push(&q, &chain, 0));
		EXPECT(virtqueue_wants_interrupt(&q) == (event ? hit : !flag));
		EXPECT(!virtqueue_wants_interrupt(&q)); /* once */
	}
}
END_TEST

/* 2.8.10: ENABLE, DISABLE, DESC; what a driver must not say (3, DESC without the feature, a place outside of the ring)
 * is answered by an interrupt too many, never by none. */
START_TEST(packed_interrupt_suppression)
{
	static const struct {
		bool event;
		uint16_t flags, place;
		bool wants;
	} cases[] = {
		{false, 0, 0, true},	  {false, 1, 0, false},		{false, 2, 3 | 1 << 15, true},
		{false, 3, 0, true},	  {true, 0, 0, true},		{true, 1, 1 << 15, false},
		{true, 2, 1 << 15, true}, {true, 2, 1 | 1 << 15, true}, {true, 2, 2 | 1 << 15, false},
		{true, 2, 0, false},	  {true, 3, 0, true},		{true, 2, 6 | 1 << 15, true},
		{true, 2 | 4, 0, false},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		start(4, PACKED | (cases[i].event ? EVENT : 0));
		fake_driver_store(&driver, driver.driver, cases[i].place);
		fake_driver_store(&driver, driver.driver + 2, cases[i].flags);
		pop_one(1, 1); /* two entries, and the event may be at either */
		EXPECT(virtqueue_push(&q, &chain, 0));
		EXPECT(virtqueue_wants_interrupt(&q) == cases[i].wants);
	}
}
END_TEST

/* A burst that goes round the whole number space has passed every place. */
START_TEST(a_long_burst_interrupts)
{
	const struct virtqueue_buffer b = {DATA, 1};

	f.watch = false;
	for (unsigned format = 0; format < 2; format++) {
		unsigned lap = format ? 8 : 65536, uses[] = {lap - 1, lap, lap + 3};

		for (unsigned i = 0; i < 3; i++) {
			uint32_t length;
			uint16_t id;

			start(4, EVENT | (format ? PACKED : 0));
			fake_driver_interrupt_at(&driver, 3);
			if (format) /* the last place of the other lap */
				fake_driver_store(&driver, driver.driver, 3);
			else
				fake_driver_store(&driver, driver.driver + 4 + 2 * 4, 65535);
			for (unsigned j = 0; j < uses[i]; j++) {
				EXPECT(fake_driver_add(&driver, &b, 1, 0, FAKE_DRIVER_DIRECT) != FAKE_DRIVER_FULL);
				EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK && virtqueue_push(&q, &chain, 0));
				EXPECT(fake_driver_take(&driver, &id, &length));
			}
			EXPECT(virtqueue_wants_interrupt(&q) == (i > 0));
		}
	}
	q.since = UINT32_MAX;
	pop_one(1, 1);
	EXPECT(virtqueue_push(&q, &chain, 0) && q.since == UINT32_MAX && virtqueue_wants_interrupt(&q));
}
END_TEST

/* 2.7.10.1: without VIRTIO_F_EVENT_IDX "MUST set flags to 0 or 1"; with it "MUST set flags to 0". */
START_TEST(split_notification_flags)
{
	start(4, 0);
	virtqueue_notify_off(&q);
	virtqueue_notify_off(&q);
	EXPECT(fake_driver_load(&driver, driver.device) == 1 && !fake_driver_should_notify(&driver, 1));
	EXPECT(!virtqueue_notify_on(&q) && fake_driver_load(&driver, driver.device) == 0);
	start(4, EVENT);
	virtqueue_notify_off(&q);
	EXPECT(f.accesses == 0);
	pop_one(1, 0);
	EXPECT(!virtqueue_notify_on(&q) && fake_driver_load(&driver, driver.device) == 0);
	EXPECT(fake_driver_load(&driver, driver.device + 4 + 8 * 4) == 1);
}
END_TEST

START_TEST(packed_notification_flags)
{
	start(4, PACKED);
	virtqueue_notify_off(&q);
	EXPECT(fake_driver_load(&driver, driver.device + 2) == VIRTQ_EVENT_DISABLE);
	EXPECT(!virtqueue_notify_on(&q) && fake_driver_load(&driver, driver.device + 2) == VIRTQ_EVENT_ENABLE);
	start(4, PACKED | EVENT);
	pop_one(2, 1);
	EXPECT(!virtqueue_notify_on(&q) && fake_driver_load(&driver, driver.device + 2) == VIRTQ_EVENT_DESC);
	EXPECT(fake_driver_load(&driver, driver.device) == (3 | 1 << 15));
}
END_TEST

/* 2.7.10.1 "MUST handle spurious notifications": there is nothing, and nothing happens. */
START_TEST(spurious_notifications)
{
	for (unsigned format = 0; format < 2; format++) {
		start(4, format ? PACKED : 0);
		for (unsigned i = 0; i < 10; i++)
			EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_EMPTY);
		EXPECT(fake_dma_touched_all(&f, DMA_WRITE) == 0 && !q.broken);
	}
}
END_TEST

/* 2.7.8.2 "MUST set len prior to updating the used idx"; 2.8.12.1 "MUST NOT change a descriptor after changing the USED
 * bit": when the last store fails, what is before it is there, and the driver sees nothing of it. */
START_TEST(used_is_published_last)
{
	struct virtq_used_element element;
	struct virtq_packed_desc desc;
	uint32_t length;
	uint16_t id;

	for (unsigned format = 0; format < 2; format++) {
		tellings = 0;
		start(4, format ? PACKED : 0);
		pop_one(1, 1);
		fake_dma_forget(&f);
		f.fail_at = 2;
		EXPECT(!virtqueue_push(&q, &chain, 21));
		EXPECT(!fake_driver_take(&driver, &id, &length));
		fake_dma_get(&f, driver.device + 4, &element, sizeof(element));
		fake_dma_get(&f, driver.desc, &desc, sizeof(desc));
		EXPECT(format ? desc.length == 21 && desc.id == chain.id
			      : element.length == 21 && element.id == chain.id);
		expect_dead();
	}
}
END_TEST

/* 2.8.12.1 "MUST NOT use a descriptor unless it observes the AVAIL bit in its flags being changed". */
START_TEST(packed_takes_what_is_available_alone)
{
	for (unsigned lap = 0; lap < 4; lap++) {
		start(1, PACKED);
		for (unsigned i = 0; i < lap; i++) {
			uint32_t length;
			uint16_t id;

			pop_one(1, 0);
			EXPECT(virtqueue_push(&q, &chain, 0) && fake_driver_take(&driver, &id, &length));
		}
		for (unsigned flags = 0; flags < 4; flags++) {
			bool avail = flags & 1, used = flags & 2, wrap = lap % 2 == 0;

			packed_desc(0, DATA, 1, (avail ? 1u << 7 : 0) | (used ? 1u << 15 : 0));
			EXPECT(virtqueue_pop(&q, &chain) ==
			       (avail == wrap && used != wrap ? VIRTQUEUE_OK : VIRTQUEUE_EMPTY));
			if (avail == wrap && used != wrap)
				virtqueue_unpop(&q, &chain);
		}
	}
}
END_TEST

/* 2.8.9 and 2.8.4: the id is the last descriptor's; the used one says WRITE iff something was written. */
START_TEST(packed_used_descriptor)
{
	uint16_t flags;

	for (unsigned written = 0; written < 2; written++) {
		start(4, PACKED);
		packed_desc(0, DATA, 1, AVAILABLE | VIRTQ_DESC_NEXT);
		packed_desc(1, DATA, 1, AVAILABLE | VIRTQ_DESC_WRITE);
		fake_driver_store(&driver, driver.desc + 12, 99);
		fake_driver_store(&driver, driver.desc + 16 + 12, 55);
		EXPECT(virtqueue_pop(&q, &chain) == VIRTQUEUE_OK && chain.id == 55 && chain.entries == 2);
		EXPECT(virtqueue_push(&q, &chain, written) && fake_driver_load(&driver, driver.desc + 12) == 55);
		flags = fake_driver_load(&driver, driver.desc + 14);
		EXPECT(flags == (1u << 7 | 1u << 15 | (written ? VIRTQ_DESC_WRITE : 0)));
		EXPECT(q.next_used == 2);
	}
}
END_TEST

/* ---- faults at every access ---- */

/* A round of all that a device does; false: something failed. */
static bool whole_round(bool *told_broken)
{
	uint8_t bytes[40] = {1};
	enum virtqueue_result result = virtqueue_pop(&q, &chain);
	bool ok;

	*told_broken = result == VIRTQUEUE_BROKEN;
	if (result != VIRTQUEUE_OK)
		return false;
	ok = virtqueue_read(&q, &chain, 0, bytes, 40) && virtqueue_write(&q, &chain, 0, bytes, 40) &&
	     virtqueue_push(&q, &chain, 40);
	(void)virtqueue_wants_interrupt(&q);
	virtqueue_notify_off(&q);
	(void)virtqueue_notify_on(&q);
	return ok && !q.broken;
}

START_TEST(every_access_can_fail)
{
	struct virtqueue_buffer b[4];
	unsigned steps = 0, round;

	for (unsigned i = 0; i < 4; i++)
		b[i] = (struct virtqueue_buffer){DATA + 64 * i, 32};
	for (unsigned mode = 0; mode < 8; mode++) {
		uint64_t features = (mode & 1 ? PACKED : 0) | (mode & 2 ? EVENT : 0) | (mode & 4 ? INDIRECT : 0);

		for (round = 1;; round++) {
			bool told_broken;

			tellings = 0;
			start(4, features);
			EXPECT(fake_driver_add(&driver, b, 2, 2, mode & 4 ? 0 : FAKE_DRIVER_DIRECT) !=
			       FAKE_DRIVER_FULL);
			f.fail_at = round;
			if (whole_round(&told_broken))
				break;
			EXPECT(q.broken && tellings == 1 && f.strays == 0);
			EXPECT(fake_dma_touched(&f, DATA, 128, DMA_WRITE) == 0);
			expect_dead();
			steps++;
		}
		EXPECT(f.accesses < round);
	}
	EXPECT(steps > 60);
}
END_TEST

/* ---- the check objects ---- */

static void expect_caught(void)
{
	EXPECT(!virtqueue_check(&q));
}

START_TEST(check_objects)
{
	struct virtqueue was;

	start(4, 0);
	pop_one(1, 0);
	EXPECT(virtqueue_check(&q));
	was = q;
#define SPOIL(what)                                                                                                    \
	do {                                                                                                           \
		what;                                                                                                  \
		expect_caught();                                                                                       \
		q = was;                                                                                               \
	} while (0)
	SPOIL(q.size_max = 257);				     /* I1 */
	SPOIL(q.size = 300);					     /* I1 */
	SPOIL(q.size = 3);					     /* I2 */
	SPOIL(q.desc += 8);					     /* I2 */
	SPOIL(q.driver++);					     /* I2 */
	SPOIL(q.device += 2);					     /* I2 */
	SPOIL(q.chains = 0);					     /* I3 */
	SPOIL(q.in_flight = 0);					     /* I4 */
	SPOIL(q.next_avail++);					     /* I4 */
	SPOIL(q.next_used++);					     /* I4 */
	SPOIL((q.next_avail += 4, q.in_flight += 4, q.chains += 4)); /* I4 */
	SPOIL(q.seen += 4);					     /* I4 */
	SPOIL(q.heads = 17);					     /* I5 */
	SPOIL(q.told = 2);					     /* I6 */
	SPOIL((q.event_index = true, q.told = 1));		     /* I6 */
	start(4, PACKED);
	pop_one(2, 1);
	EXPECT(virtqueue_check(&q));
	was = q;
	SPOIL(q.next_avail = 4);		/* I7 */
	SPOIL(q.next_used = 4);			/* I7 */
	SPOIL(q.avail_wrap = false);		/* I7: seven entries in flight */
	SPOIL(q.in_flight = 0);			/* I7 */
	SPOIL((q.in_flight = 4, q.chains = 4)); /* I7 */
	SPOIL(q.told = 3);			/* I6 */
#undef SPOIL
}
END_TEST

/* ---- two threads ---- */

#define THREAD_CHAINS 60000u

static struct doorbell { /* counts rings; waits until one is new */
	pthread_mutex_t lock;
	pthread_cond_t rung;
	uint64_t rings;
} to_device, to_driver;

static void ring(struct doorbell *d)
{
	pthread_mutex_lock(&d->lock);
	d->rings++;
	pthread_cond_signal(&d->rung);
	pthread_mutex_unlock(&d->lock);
}

static void wait_after(struct doorbell *d, uint64_t *seen)
{
	pthread_mutex_lock(&d->lock);
	while (d->rings == *seen)
		pthread_cond_wait(&d->rung, &d->lock);
	*seen = d->rings;
	pthread_mutex_unlock(&d->lock);
}

/* Adds up what it reads, writes the sum, and sleeps whenever the ring is empty: a notification that is lost is a
 * device that sleeps for good, and the test's timeout. */
static void *device_thread(void *unused)
{
	static struct virtqueue_chain c;
	uint64_t rings = 0;
	unsigned done = 0;

	(void)unused;
	while (done < THREAD_CHAINS) {
		enum virtqueue_result result = virtqueue_pop(&q, &c);

		if (result == VIRTQUEUE_EMPTY) {
			if (virtqueue_wants_interrupt(&q))
				ring(&to_driver);
			if (!virtqueue_notify_on(&q))
				wait_after(&to_device, &rings);
			virtqueue_notify_off(&q);
			continue;
		}
		if (result == VIRTQUEUE_OK) {
			uint32_t a, b;

			if (!virtqueue_read(&q, &c, 0, &a, 4) || !virtqueue_read(&q, &c, 4, &b, 4))
				return (void *)(uintptr_t) "read";
			a += b;
			if (!virtqueue_write(&q, &c, 0, &a, 4) || !virtqueue_push(&q, &c, 4))
				return (void *)(uintptr_t) "write";
			if (++done % 7 == 0 && virtqueue_wants_interrupt(&q))
				ring(&to_driver);
		} else {
			return (void *)(uintptr_t)q.broken;
		}
	}
	if (virtqueue_wants_interrupt(&q))
		ring(&to_driver);
	return NULL;
}

struct request {
	uint32_t a, b, sum, expected;
};

static struct request *request_of(uint16_t slot)
{
	return (struct request *)(void *)fake_dma_host(&f, DATA + 64u * slot, sizeof(struct request));
}

static unsigned collect(uint16_t *slot_of, bool *busy)
{
	unsigned done = 0;
	uint32_t length;
	uint16_t id;

	while (fake_driver_take(&driver, &id, &length)) {
		const struct request *r = request_of(slot_of[id]);

		EXPECT(length == 4 && r->sum == r->expected);
		busy[slot_of[id]] = false;
		done++;
	}
	return done;
}

static void drive(unsigned size, bool indirect_too)
{
	static uint16_t slot_of[256];
	static bool busy[256];
	uint64_t rings = 0;
	unsigned offers = 0, done = 0;

	memset(busy, 0, sizeof(busy));
	while (done < THREAD_CHAINS) {
		unsigned slot = 0, before = driver.free;
		uint64_t at;
		struct virtqueue_buffer b[3];
		uint16_t id;

		while (slot < size && busy[slot])
			slot++;
		at = DATA + 64u * slot;
		b[0] = (struct virtqueue_buffer){at, 3};
		b[1] = (struct virtqueue_buffer){at + 3, 5};
		b[2] = (struct virtqueue_buffer){at + 8, 4};
		if (offers < THREAD_CHAINS && slot < size) {
			*request_of((uint16_t)slot) = (struct request){offers, offers * 7, 0, offers * 8};
			id = fake_driver_add(&driver, b, 2, 1,
					     indirect_too && offers % 3 ? FAKE_DRIVER_INDIRECT : FAKE_DRIVER_DIRECT);
			if (id != FAKE_DRIVER_FULL) {
				slot_of[id] = (uint16_t)slot;
				busy[slot] = true;
				offers++;
				if (fake_driver_should_notify(&driver, driver.packed ? before - driver.free : 1))
					ring(&to_device);
				continue;
			}
		}
		done += collect(slot_of, busy);
		if (driver.event)
			fake_driver_interrupt_at(&driver, 0);
		else
			fake_driver_interrupts(&driver, true);
		at = collect(slot_of, busy); /* between the look and the request */
		done += at;
		if (!at && done < THREAD_CHAINS && (driver.free < 3 || offers == THREAD_CHAINS))
			wait_after(&to_driver, &rings);
		if (!driver.event)
			fake_driver_interrupts(&driver, false);
	}
}

START_TEST(driver_and_device_in_two_threads)
{
	pthread_t thread;
	void *why;

	f.watch = false;
	start(_i & 8 ? 16 : 64, (_i & 1 ? PACKED : 0) | (_i & 2 ? EVENT : 0) | (_i & 4 ? INDIRECT : 0));
	to_device = to_driver = (struct doorbell){PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
	EXPECT(pthread_create(&thread, NULL, device_thread, NULL) == 0);
	drive(driver.size, _i & 4);
	EXPECT(pthread_join(thread, &why) == 0);
	ck_assert_msg(why == NULL, "%s", (const char *)why);
	EXPECT(virtqueue_check(&q) && q.in_flight == 0 && q.chains == THREAD_CHAINS);
}
END_TEST

Suite *virtqueue_suite(void);
Suite *virtqueue_suite(void)
{
	Suite *s = suite_create("virtqueue");
	TCase *t = tcase_create("model");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, random_chains_split, 0, 4);
	tcase_add_loop_test(t, random_chains_packed, 0, 4);
	tcase_add_test(t, random_chains_touch_the_ring_alone);
	suite_add_tcase(s, t);
	tcase_add_test(t, indexes_wrap);

	t = tcase_create("rules");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, enable_judges_size_and_place);
	tcase_add_test(t, an_idle_queue_touches_nothing);
	tcase_add_loop_test(t, broken_rule, 0, RULES);
	tcase_add_test(t, a_used_ring_that_is_read_only);
	tcase_add_test(t, a_packed_ring_that_is_read_only);
	tcase_add_test(t, areas_of_notification_that_are_not_there);
	tcase_add_test(t, buffers_that_are_not_there);
	tcase_add_test(t, rights_of_buffers_are_their_own);
	tcase_add_test(t, every_access_can_fail);
	tcase_add_test(t, check_objects);
	suite_add_tcase(s, t);

	t = tcase_create("bytes");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, framing_means_nothing);
	tcase_add_test(t, map_says_busy_only_with_nothing);
	suite_add_tcase(s, t);

	t = tcase_create("specification");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, split_write_flag_of_an_indirect_descriptor_is_ignored);
	tcase_add_test(t, split_direct_then_indirect);
	tcase_add_test(t, split_sparse_table);
	tcase_add_test(t, packed_flags_of_a_table_are_ignored);
	tcase_add_test(t, four_gib_are_allowed);
	tcase_add_test(t, split_interrupt_suppression);
	tcase_add_test(t, packed_interrupt_suppression);
	tcase_add_test(t, a_long_burst_interrupts);
	tcase_add_test(t, split_notification_flags);
	tcase_add_test(t, packed_notification_flags);
	tcase_add_test(t, spurious_notifications);
	tcase_add_test(t, used_is_published_last);
	tcase_add_test(t, packed_takes_what_is_available_alone);
	tcase_add_test(t, packed_used_descriptor);
	suite_add_tcase(s, t);

	t = tcase_create("threads");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, driver_and_device_in_two_threads, 0, 16);
	suite_add_tcase(s, t);
	return s;
}
