/* vmm/dma_ram.c: a guest's RAM as devices see it, over scattered blocks: what a span gives beside a naive table of
 * frames, and the pins of each block beside a count of every byte. D1 to D3. */
#include <check.h>
#undef fail
#include <pthread.h>
#include <string.h>

#include "tests/unit/fake_ram.h"
#include "tests/unit/random.h"
#include "vmm/dma_ram.h"

Suite *dma_ram_suite(void);

#define BLOCKS	     24u
#define BLOCK_FRAMES 8u
#define FRAMES	     (BLOCKS * BLOCK_FRAMES)
#define GUARD	     70u /* this guest frame is not mapped */
#define READONLY     75u

static struct memory memory;
static struct fake_ram fake;
static struct block block[BLOCKS];
static struct dma_ram *d;
static struct dma_memory m;
static uint32_t place[BLOCKS]; /* guest block i lies at the pool's place[i] */

static void setup(void)
{
	struct failure f = {0};

	seed(6);
	fake_ram_init(&fake, FRAMES * FRAME_BYTES);
	ck_assert_int_eq(memory_open(&memory, &f), 0);
	for (uint32_t i = 0; i < BLOCKS; i++)
		place[i] = i;
	for (uint32_t i = BLOCKS - 1; i > 0; i--) { /* but some neighbours stay so */
		uint32_t j = (uint32_t)below(i + 1), was = place[i];

		if (i % 3 == 0)
			continue;
		place[i] = place[j];
		place[j] = was;
	}
	for (uint32_t i = 0; i < BLOCKS; i++) {
		uint64_t offset = (uint64_t)place[i] * BLOCK_FRAMES * FRAME_BYTES;

		block[i] = (struct block){.bytes = BLOCK_FRAMES * FRAME_BYTES, .host = fake.ram.host + offset};
	}
	d = dma_ram_open(&memory, &fake.ram, block, BLOCKS, &f);
	ck_assert_ptr_nonnull(d);
	fake.table.config.readers = d->reader;
	fake.table.config.readers_count = DMA_RAM_READERS;
	for (uint32_t frame = 0; frame < FRAMES; frame++) {
		uint64_t host =
			((uint64_t)place[frame / BLOCK_FRAMES] * BLOCK_FRAMES + frame % BLOCK_FRAMES) * FRAME_BYTES;

		if (frame != GUARD)
			fake_ram_map(&fake, frame * FRAME_BYTES, host, FRAME_BYTES,
				     frame == READONLY ? PAGETABLE_READ | PAGETABLE_USER : FAKE_RAM_RIGHTS);
	}
	m = dma_ram_memory(d);
}

static void teardown(void)
{
	ck_assert(dma_ram_check(d));
	dma_ram_close(d);
	memory_close(&memory);
	fake_ram_fini(&fake);
}

static uint8_t *host_of(uint64_t gpa)
{
	uint64_t frame = gpa / FRAME_BYTES;

	return block[frame / BLOCK_FRAMES].host + gpa % (BLOCK_FRAMES * FRAME_BYTES);
}

/* How far it goes, byte by byte of frames. */
static uint64_t naive(uint64_t gpa, uint64_t bytes, unsigned access)
{
	uint64_t done = 0;

	while (done < bytes) {
		uint64_t frame = (gpa + done) / FRAME_BYTES;

		if (frame >= FRAMES || frame == GUARD || (frame == READONLY && access & DMA_WRITE) ||
		    host_of(gpa + done) != host_of(gpa) + done)
			break;
		done += FRAME_BYTES - (gpa + done) % FRAME_BYTES;
	}
	return done < bytes ? done : bytes;
}

START_TEST(spans_are_what_a_naive_table_gives)
{
	unsigned cut = 0;

	for (unsigned i = 0; i < 100000; i++) {
		uint64_t gpa = below((FRAMES + 2) * FRAME_BYTES);
		uint64_t bytes = 1 + below(12 * FRAME_BYTES), got = bytes;
		unsigned access = (unsigned)(1 + below(3));
		uint8_t *host = m.span(m.self, i % DMA_RAM_READERS, gpa, &got, access);
		uint64_t wanted = naive(gpa, bytes, access);

		ck_assert_int_eq(host != NULL, wanted != 0);
		if (!host)
			continue;
		ck_assert_ptr_eq(host, host_of(gpa));
		ck_assert_uint_eq(got, wanted);
		cut += got < bytes;
	}
	ck_assert_uint_gt(cut, 1000);
	for (unsigned r = 0; r < DMA_RAM_READERS; r++)
		ck_assert_uint_eq(d->reader[r].epoch, 0); /* D3: it left */
}
END_TEST

/* A miss of no device walks the whole of a guest's RAM. */
START_TEST(a_span_gives_up_after_some_leaves)
{
	struct fake_ram plain;
	struct ram *ram = &plain.ram;
	uint64_t bytes = UINT64_MAX, all = UINT64_C(1) << 20;

	fake_ram_init(&plain, all);
	fake_ram_map(&plain, 0, 0, all, FAKE_RAM_RIGHTS);
	ck_assert_ptr_eq(ram_reach(ram, 100, &bytes, PAGETABLE_READ), ram->host + 100);
	ck_assert_uint_eq(bytes, 16 * FRAME_BYTES - 100);
	bytes = UINT64_MAX;
	ck_assert_ptr_eq(ram_span(ram, 100, &bytes, PAGETABLE_READ), ram->host + 100);
	ck_assert_uint_eq(bytes, all - 100);
	fake_ram_fini(&plain);
}
END_TEST

/* Ranges are pinned in one way and unpinned in another; each block has its bytes at any time. */
START_TEST(pins_are_counted_in_bytes_of_each_block)
{
	static uint32_t count[FRAMES]; /* pins of each frame of the pool, all of its bytes */
	uint64_t most[BLOCKS] = {0};
	const uint8_t *pool = fake.ram.host;

	memset(count, 0, sizeof(count));
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t from = below(FRAMES), n = 1 + below(FRAMES - from);
		bool take = below(2);

		for (uint64_t at = from; !take && at < from + n; at++)
			if (!count[at])
				n = at - from;
		if (!n)
			continue;
		(take ? m.pin : m.unpin)(m.self, pool + from * FRAME_BYTES, n * FRAME_BYTES);
		for (uint64_t at = from; at < from + n; at++)
			count[at] += take ? 1 : UINT32_MAX;
		ck_assert(dma_ram_check(d));
		for (uint32_t b = 0; b < BLOCKS; b++) {
			uint64_t pinned = 0;

			for (uint32_t k = 0; k < BLOCK_FRAMES; k++)
				pinned += count[b * BLOCK_FRAMES + k] * FRAME_BYTES;
			most[b] = pinned > most[b] ? pinned : most[b];
			ck_assert_uint_eq(d->block[b].pinned, pinned);
			ck_assert_uint_eq(d->block[b].most, most[b]);
			ck_assert_int_eq(dma_ram_pinned(d, d->block[b].number), pinned != 0);
			ck_assert_uint_eq(place[d->block[b].number], b);
		}
	}
	for (uint32_t at = 0; at < FRAMES; at++)
		for (; count[at]; count[at]--)
			m.unpin(m.self, pool + at * FRAME_BYTES, FRAME_BYTES);
}
END_TEST

static uint64_t roll(uint64_t *own, uint64_t n)
{
	*own = *own * UINT64_C(6364136223846793005) + 1;
	return (*own >> 33) % n;
}

static void *pinner(void *self)
{
	uint64_t own = (uintptr_t)self;

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t from = roll(&own, FRAMES * FRAME_BYTES), n = 1 + roll(&own, 3 * FRAME_BYTES);
		uint64_t gpa = roll(&own, FRAMES * FRAME_BYTES), bytes = 100;

		if (n > FRAMES * FRAME_BYTES - from)
			n = FRAMES * FRAME_BYTES - from;
		m.pin(m.self, fake.ram.host + from, n);
		(void)m.span(m.self, (unsigned)(uintptr_t)self, gpa, &bytes, DMA_READ);
		m.unpin(m.self, fake.ram.host + from, n);
	}
	return NULL;
}

/* Beside them the table is cut and healed: what a reader finds is what was or is, and its pages wait for it. */
START_TEST(many_threads_pin_while_the_table_changes)
{
	pthread_t thread[4];

	for (uintptr_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, pinner, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < 2000; i++) {
		struct pagetable_flush flush;

		ck_assert_int_eq(pagetable_unmap(&fake.table, 0, FRAME_BYTES, &flush), MM_OK);
		dma_ram_taken(d);
		pagetable_flushed(&fake.table);
		fake_ram_map(&fake, 0, (uint64_t)place[0] * BLOCK_FRAMES * FRAME_BYTES, FRAME_BYTES, FAKE_RAM_RIGHTS);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(d->generation, 2000);
	for (uint32_t b = 0; b < BLOCKS; b++)
		ck_assert_uint_eq(d->block[b].pinned, 0);
}
END_TEST

START_TEST(the_check_objects)
{
	struct dma_ram_block was = d->block[3];

	ck_assert(dma_ram_check(d));
	d->block[3].host -= 1;
	ck_assert(!dma_ram_check(d));
	d->block[3] = was;
	d->block[3].bytes = 0;
	ck_assert(!dma_ram_check(d));
	d->block[3] = was;
	d->block[3].pinned = 1;
	ck_assert(!dma_ram_check(d));
	d->block[3] = was;
	d->block[3].number = (was.number + 1) % BLOCKS;
	ck_assert(!dma_ram_check(d));
	d->block[3].number = BLOCKS;
	ck_assert(!dma_ram_check(d));
	d->block[3] = was;
}
END_TEST

Suite *dma_ram_suite(void)
{
	Suite *s = suite_create("dma_ram");
	TCase *t = tcase_create("scattered");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 20);
	tcase_add_test(t, spans_are_what_a_naive_table_gives);
	tcase_add_test(t, a_span_gives_up_after_some_leaves);
	tcase_add_test(t, pins_are_counted_in_bytes_of_each_block);
	tcase_add_test(t, many_threads_pin_while_the_table_changes);
	tcase_add_test(t, the_check_objects);
	suite_add_tcase(s, t);
	return s;
}
