/* tests/unit/test_virtqueue.c: both rings against a naive driver (fake_driver.h) and a naive record of what it offered;
 * each rule that a driver can break; what a device must and must not do by VIRTIO 1.2, 2.6 to 2.8, cited
 * where it is tested; and driver and device in two threads. */
#include <check.h>
#include <pthread.h>
#include <sched.h>

#include "devices/virtqueue_impl.h"
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

/* As ck_assert, for the inner loops: a check that holds makes no system call. */
#define EXPECT(condition)                                                                                              \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			ck_abort_msg("%s does not hold", #condition);                                                  \
	} while (0)

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
/*REST*/

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
/*CASES*/
	return s;
}
