/* The bus: which window answers, at which offset, with which lanes; and strays. */
#include <check.h>
#include <signal.h>

#include "vmm/bus.h"

Suite *bus_suite(void);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct seen {
	uint64_t offset, value;
	unsigned width, reads, writes;
};

static uint64_t device_read(void *self, uint64_t offset, unsigned width)
{
	struct seen *s = self;

	s->reads++;
	s->offset = offset;
	s->width = width;
	ck_assert_int_ne(pthread_mutex_trylock(&lock), 0); /* the bus holds it */
	return UINT64_C(0x1122334455667788);
}

static void device_write(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	struct seen *s = self;

	s->writes++;
	s->offset = offset;
	s->width = width;
	s->value = value;
}

static struct device device(struct seen *s)
{
	return (struct device){"test", s, device_read, device_write};
}

START_TEST(window_edges)
{
	struct bus b = {0};
	struct seen one = {0}, two = {0};
	uint64_t value;

	bus_add(&b, 0x100, 8, device(&two), &lock);
	bus_add(&b, 0x40, 4, device(&one), &lock); /* any order */
	ck_assert(!bus_read(&b, 0x3f, 1, &value) && value == 0xff);
	ck_assert(bus_read(&b, 0x40, 1, &value) && value == 0x88 && one.offset == 0);
	ck_assert(bus_read(&b, 0x42, 2, &value) && value == 0x7788 && one.offset == 2 && one.width == 2);
	ck_assert(!bus_read(&b, 0x42, 4, &value) && value == 0xffffffff); /* reaches out of the window */
	ck_assert(!bus_read(&b, 0x3f, 4, &value));			  /* reaches into it */
	ck_assert(!bus_read(&b, 0x44, 1, &value));
	ck_assert(bus_read(&b, 0x100, 8, &value) && value == UINT64_C(0x1122334455667788));
	ck_assert(!bus_read(&b, UINT64_MAX, 8, &value) && value == UINT64_MAX);
	ck_assert(!bus_read(&b, 0x100, 3, &value) && value == 0xffffff); /* half of an access across a page's end */
	ck_assert(!bus_write(&b, 0x100, 5, 0));
	ck_assert_uint_eq(one.reads, 2);
	ck_assert_uint_eq(two.reads, 1);
	ck_assert_uint_eq(two.writes, 0);
}
END_TEST

START_TEST(write_drops_bits_above_its_width)
{
	struct bus b = {0};
	struct seen one = {0};

	bus_add(&b, 0xf4, 4, device(&one), &lock);
	ck_assert(bus_write(&b, 0xf5, 2, 0xabcdef));
	ck_assert_uint_eq(one.value, 0xcdef);
	ck_assert(!bus_write(&b, 0xf8, 1, 1));
	ck_assert_uint_eq(one.writes, 1);
}
END_TEST

START_TEST(overlap_is_a_bug)
{
	struct bus b = {0};
	struct seen one = {0};

	bus_add(&b, 0x40, 4, device(&one), &lock);
	bus_add(&b, 0x43, 1, device(&one), &lock);
}
END_TEST

Suite *bus_suite(void)
{
	Suite *s = suite_create("bus");
	TCase *t = tcase_create("bus");

	tcase_add_test(t, window_edges);
	tcase_add_test(t, write_drops_bits_above_its_width);
	tcase_add_test_raise_signal(t, overlap_is_a_bug, SIGABRT);
	suite_add_tcase(s, t);
	return s;
}
