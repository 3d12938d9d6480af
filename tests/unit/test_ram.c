/* vmm/ram.c against a naive model: an array that says for each guest page which host page it is. */
#include <check.h>

#include "tests/unit/fake_ram.h"

#define PAGES	   64u /* of guest addresses, at WINDOW */
#define HOST_PAGES 64u
#define PAGE	   FRAME_BYTES
#define WINDOW	   UINT64_C(0xffff8000) /* crosses 4 GiB */
#define NONE	   UINT32_MAX

struct model {
	uint32_t host[PAGES]; /* host page, or NONE */
	unsigned rights[PAGES];
};

static uint64_t seed;

static uint32_t random_below(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

static uint8_t *model_byte(const struct model *m, const struct ram *r, uint64_t gpa, unsigned rights)
{
	uint64_t page = (gpa - WINDOW) / PAGE;

	if (gpa < WINDOW || page >= PAGES || m->host[page] == NONE || (m->rights[page] & rights) != rights)
		return NULL;
	return r->host + m->host[page] * PAGE + gpa % PAGE;
}

/* How many bytes from gpa on are there; with `near`, as neighbours on the host. */
static uint64_t model_length(const struct model *m, const struct ram *r, uint64_t gpa, uint64_t bytes, unsigned rights,
			     bool near)
{
	uint8_t *first = model_byte(m, r, gpa, rights);
	uint64_t i;

	for (i = 0; i < bytes; i++) {
		uint8_t *here = model_byte(m, r, gpa + i, rights);

		if (!here || (near && here != first + i))
			break;
	}
	return i;
}

static void random_map(struct model *m, struct fake_ram *f)
{
	for (unsigned i = 0; i < PAGES; i++)
		m->host[i] = NONE;
	for (unsigned i = 0; i < PAGES;) {
		unsigned run = 1 + random_below(8), host = random_below(HOST_PAGES);

		for (unsigned k = 0; k < run && i < PAGES; k++, i++, host++) {
			if (host >= HOST_PAGES || random_below(10) == 0)
				continue;
			m->host[i] = host;
			m->rights[i] = random_below(4) ? FAKE_RAM_RIGHTS : PAGETABLE_READ | PAGETABLE_USER;
			fake_ram_map(f, WINDOW + i * PAGE, host * PAGE, PAGE, m->rights[i]);
		}
	}
}

static void check_span(const struct model *m, const struct ram *r, uint64_t gpa, uint64_t bytes, unsigned rights)
{
	uint64_t length = bytes, expected = model_length(m, r, gpa, bytes, rights, true);
	uint8_t *span = ram_span(r, gpa, &length, rights);

	ck_assert_ptr_eq(span, expected ? model_byte(m, r, gpa, rights) : NULL);
	if (expected)
		ck_assert_uint_eq(length, expected);
	ck_assert(ram_covers(r, gpa, bytes, rights) == (model_length(m, r, gpa, bytes, rights, false) == bytes));
}

static void check_copy(const struct model *m, const struct ram *r, uint64_t gpa, uint64_t bytes)
{
	static uint8_t buffer[3 * PAGE], before[HOST_PAGES * PAGE];

	memset(buffer, 0xa5, sizeof(buffer));
	if (ram_read(r, gpa, buffer, bytes)) {
		for (uint64_t i = 0; i < bytes; i++)
			ck_assert_uint_eq(buffer[i], *model_byte(m, r, gpa + i, PAGETABLE_READ));
	} else {
		ck_assert(model_length(m, r, gpa, bytes, PAGETABLE_READ, false) < bytes);
		ck_assert_uint_eq(buffer[0], 0xa5);
	}
	for (uint64_t i = 0; i < bytes; i++)
		buffer[i] = (uint8_t)random_below(256);
	memcpy(before, r->host, sizeof(before));
	if (!ram_write(r, gpa, buffer, bytes)) {
		ck_assert(model_length(m, r, gpa, bytes, PAGETABLE_WRITE, false) < bytes);
		ck_assert_mem_eq(before, r->host, sizeof(before));
		return;
	}
	for (uint64_t i = 0; i < bytes; i++) /* a host page may be there twice: the later byte wins */
		*(before + (model_byte(m, r, gpa + i, PAGETABLE_WRITE) - r->host)) = buffer[i];
	ck_assert_mem_eq(before, r->host, sizeof(before));
}

START_TEST(random_against_model)
{
	seed = 0x51a7;
	for (unsigned round = 0; round < 12; round++) {
		struct fake_ram f;
		struct model m;

		fake_ram_init(&f, HOST_PAGES * PAGE);
		random_map(&m, &f);
		for (unsigned i = 0; i < 60; i++) {
			uint64_t gpa = WINDOW - PAGE + random_below((PAGES + 2) * PAGE);
			uint64_t bytes = random_below(3) ? random_below(3 * PAGE) : random_below(16);

			if (random_below(2))
				gpa &= ~(PAGE - 1);
			check_span(&m, &f.ram, gpa, bytes, random_below(2) ? PAGETABLE_READ : PAGETABLE_WRITE);
			check_copy(&m, &f.ram, gpa, bytes);
		}
		fake_ram_fini(&f);
	}
}
END_TEST

/* Large leaves; two guest ranges of one block are one span each, and not one together on the guest's side. */
START_TEST(block_in_two_ranges)
{
	struct fake_ram f;
	uint64_t bytes = UINT64_C(4) << 20;

	fake_ram_init(&f, UINT64_C(4) << 20);
	fake_ram_map(&f, UINT64_C(0xbfe00000), 0, UINT64_C(2) << 20, FAKE_RAM_RIGHTS);
	fake_ram_map(&f, UINT64_C(0x100000000), UINT64_C(2) << 20, UINT64_C(2) << 20, FAKE_RAM_RIGHTS);
	ck_assert_uint_eq(pagetable_stats_read(&f.table).leaves[PAGETABLE_2M], 2);
	ck_assert_ptr_eq(ram_span(&f.ram, UINT64_C(0xbfe00001), &bytes, PAGETABLE_READ), f.ram.host + 1);
	ck_assert_uint_eq(bytes, (UINT64_C(2) << 20) - 1);
	bytes = 1;
	ck_assert_ptr_null(ram_span(&f.ram, UINT64_C(0xc0000000), &bytes, PAGETABLE_READ));
	ck_assert(ram_covers(&f.ram, UINT64_C(0x1001fffff), 1, PAGETABLE_WRITE));
	ck_assert(!ram_covers(&f.ram, UINT64_C(0x1001fffff), 2, PAGETABLE_WRITE));
	fake_ram_fini(&f);
}
END_TEST

/* A leaf that reaches out of the pool gives its inside only. */
START_TEST(never_outside_the_pool)
{
	struct fake_ram f;
	uint64_t bytes = 2 * PAGE;

	fake_ram_init(&f, 4 * PAGE);
	fake_ram_map(&f, 0, 2 * PAGE, PAGE, FAKE_RAM_RIGHTS);
	fake_ram_map(&f, PAGE, 4 * PAGE, PAGE, FAKE_RAM_RIGHTS);	       /* one past the pool */
	fake_ram_map(&f, 2 * PAGE, (uint64_t)0 - PAGE, PAGE, FAKE_RAM_RIGHTS); /* one before it */
	ck_assert_ptr_eq(ram_span(&f.ram, 0, &bytes, PAGETABLE_READ), f.ram.host + 2 * PAGE);
	ck_assert_uint_eq(bytes, PAGE);
	ck_assert(!ram_covers(&f.ram, PAGE, 1, PAGETABLE_READ));
	ck_assert(!ram_covers(&f.ram, 2 * PAGE, 1, PAGETABLE_READ));
	f.ram.host_bytes = 2 * PAGE + 100;
	bytes = PAGE;
	ck_assert_ptr_nonnull(ram_span(&f.ram, 0, &bytes, PAGETABLE_READ));
	ck_assert_uint_eq(bytes, 100);
	fake_ram_fini(&f);
}
END_TEST

START_TEST(addresses_that_wrap)
{
	struct fake_ram f;
	uint8_t byte = 1;
	uint64_t bytes = 8;

	fake_ram_init(&f, PAGE);
	fake_ram_map(&f, 0, 0, PAGE, FAKE_RAM_RIGHTS);
	ck_assert(!ram_covers(&f.ram, UINT64_MAX, 1, PAGETABLE_READ));
	ck_assert(!ram_covers(&f.ram, UINT64_MAX - 1, 4, PAGETABLE_READ));
	ck_assert(!ram_covers(&f.ram, 0, UINT64_MAX, PAGETABLE_READ));
	ck_assert(!ram_covers(&f.ram, UINT64_C(1) << 48, 1, PAGETABLE_READ));
	ck_assert(!ram_write(&f.ram, UINT64_MAX, &byte, 1));
	ck_assert_ptr_null(ram_span(&f.ram, UINT64_MAX - 3, &bytes, PAGETABLE_READ));
	ck_assert(ram_covers(&f.ram, UINT64_MAX, 0, PAGETABLE_READ));
	bytes = 0;
	ck_assert_ptr_null(ram_span(&f.ram, 0, &bytes, PAGETABLE_READ));
	fake_ram_fini(&f);
}
END_TEST

Suite *ram_suite(void);
Suite *ram_suite(void)
{
	Suite *suite = suite_create("ram");
	TCase *tcase = tcase_create("gate");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, random_against_model);
	tcase_add_test(tcase, block_in_two_ranges);
	tcase_add_test(tcase, never_outside_the_pool);
	tcase_add_test(tcase, addresses_that_wrap);
	suite_add_tcase(suite, tcase);
	return suite;
}
