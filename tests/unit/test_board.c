/* The board's table of interrupt routes: what KVM must still know while an interrupt is in service. */
#include <check.h>
#undef fail

#include "vmm/board.h"

Suite *board_suite(void);

#define PIN    9u
#define ENTRY  (IOAPIC_ENTRY + 2 * PIN)
#define VECTOR 0x30u

static struct board board;
static unsigned tables; /* written; each is refused, since there is no VM */

static void stop(void *self, const struct failure *why)
{
	(void)self;
	(void)why;
	tables++;
}

static void setup(void)
{
	const struct board_config config = {.vm = -1, .cpus = 1, .fault = {NULL, stop}};

	tables = 0;
	board_init(&board, &config);
}

static void teardown(void)
{
	board_fini(&board);
}

static void set_entry(uint32_t low)
{
	ck_assert(bus_write(&board.mmio, LAYOUT_IOAPIC + IOAPIC_SELECT, 4, ENTRY));
	ck_assert(bus_write(&board.mmio, LAYOUT_IOAPIC + IOAPIC_DATA, 4, low));
}

/* KVM reports an end of interrupt only for vectors in its table. One that a
 * guest masks while in service and ends then would otherwise stay in service for good. */
START_TEST(a_masked_pin_keeps_its_route)
{
	set_entry(VECTOR | IOAPIC_LEVEL);
	ck_assert_uint_eq(tables, 1);
	set_entry(VECTOR | IOAPIC_LEVEL | IOAPIC_MASKED);
	ck_assert(board.route[PIN].valid && board.route[PIN].level);
	ck_assert_uint_eq(board.route[PIN].message.data & IOAPIC_VECTOR, VECTOR);
	ck_assert_uint_eq(tables, 1);
	set_entry((VECTOR + 1) | IOAPIC_LEVEL);
	ck_assert_uint_eq(board.route[PIN].message.data & IOAPIC_VECTOR, VECTOR + 1);
	ck_assert_uint_eq(tables, 2);
}
END_TEST

START_TEST(edges_need_no_table)
{
	set_entry(VECTOR);
	set_entry(VECTOR | IOAPIC_MASKED);
	ck_assert_uint_eq(tables, 0);
	set_entry(VECTOR | IOAPIC_LEVEL);
	set_entry(VECTOR); /* no longer level: the table must forget it */
	ck_assert_uint_eq(tables, 2);
	ck_assert(!board.route[PIN].level);
}
END_TEST

Suite *board_suite(void)
{
	Suite *s = suite_create("board");
	TCase *t = tcase_create("routes");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_masked_pin_keeps_its_route);
	tcase_add_test(t, edges_need_no_table);
	suite_add_tcase(s, t);
	return s;
}
