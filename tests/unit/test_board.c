/* The board's table of interrupt routes: what KVM must still know while an interrupt is in service; and pins that KVM
 * interrupts by itself: none of theirs is lost while the guest masks them. */
#include <check.h>
#undef fail
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

#define PULSE_PIN   17u
#define PULSE_ENTRY (IOAPIC_ENTRY + 2 * PULSE_PIN)

static int pulse_fd;
static pthread_mutex_t device_lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t read_nothing(void *self, uint64_t offset, unsigned width)
{
	(void)self;
	(void)offset;
	(void)width;
	return 0;
}

static void add_pulsing(void)
{
	setup();
	pulse_fd = eventfd(0, EFD_NONBLOCK);
	board_add(&board, 0xd0000000, 0x200, (struct device){.name = "pulsing", .read = read_nothing}, &device_lock,
		  PULSE_PIN, pulse_fd);
}

static void drop_pulsing(void)
{
	close(pulse_fd);
	teardown();
}

static void set_pulse_entry(uint32_t low)
{
	ck_assert(bus_write(&board.mmio, LAYOUT_IOAPIC + IOAPIC_SELECT, 4, PULSE_ENTRY));
	ck_assert(bus_write(&board.mmio, LAYOUT_IOAPIC + IOAPIC_DATA, 4, low));
}

/* Writes to the eventfd since it was read last. */
static uint64_t sent(void)
{
	uint64_t n = 0;

	return read(pulse_fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

/* B2. Masked from the start: nothing is sent, and all that came is one when the pin is open, behind its table. */
START_TEST(a_pulse_while_masked_is_sent_when_unmasked)
{
	board_pulse(&board, PULSE_PIN);
	board_pulse(&board, PULSE_PIN);
	ck_assert_uint_eq(sent(), 0);
	ck_assert_uint_eq(tables, 0);
	set_pulse_entry(VECTOR);
	ck_assert_uint_eq(tables, 1);
	ck_assert_uint_eq(sent(), 1);
	board_pulse(&board, PULSE_PIN);
	board_pulse(&board, PULSE_PIN);
	ck_assert_uint_eq(sent(), 2);
	set_pulse_entry(VECTOR | IOAPIC_MASKED);
	ck_assert_uint_eq(sent(), 0);
	board_pulse(&board, PULSE_PIN);
	ck_assert_uint_eq(sent(), 0);
	set_pulse_entry(VECTOR);
	ck_assert_uint_eq(sent(), 1);
	set_pulse_entry(VECTOR | IOAPIC_MASKED);
	set_pulse_entry(VECTOR);
	ck_assert_uint_eq(sent(), 0); /* once only */
}
END_TEST

/* B3. The table is written when the message changes, and only then. */
START_TEST(masking_costs_no_table)
{
	set_pulse_entry(VECTOR);
	ck_assert_uint_eq(tables, 1);
	set_pulse_entry(VECTOR | IOAPIC_MASKED);
	ck_assert(board.route[PULSE_PIN].valid);
	set_pulse_entry(VECTOR);
	ck_assert_uint_eq(tables, 1);
	set_pulse_entry(VECTOR | IOAPIC_MASKED);
	set_pulse_entry(VECTOR + 1);
	ck_assert_uint_eq(tables, 2);
	ck_assert_uint_eq(board.route[PULSE_PIN].message.data & IOAPIC_VECTOR, VECTOR + 1);
	set_pulse_entry((VECTOR + 1) | IOAPIC_LEVEL); /* a mistake of the guest's: it is still a pulse */
	ck_assert_uint_eq(tables, 3);
	board_pulse(&board, PULSE_PIN);
	board_pulse(&board, PULSE_PIN);
	ck_assert_uint_eq(sent(), 2);
}
END_TEST

static atomic_bool stop_masking;

static void *mask_and_unmask(void *unused)
{
	for (unsigned i = 0; !atomic_load(&stop_masking); i++)
		set_pulse_entry(i % 2 ? VECTOR + i / 2 % 8 : VECTOR | IOAPIC_MASKED);
	set_pulse_entry(VECTOR);
	return unused;
}

/* A driver that waits for its interrupt before it asks for the next: it never waits for ever. */
START_TEST(no_pulse_is_lost_to_a_mask)
{
	pthread_t masker;

	ck_assert_int_eq(pthread_create(&masker, NULL, mask_and_unmask, NULL), 0);
	for (unsigned i = 0; i < 20000; i++) {
		pthread_mutex_lock(&device_lock);
		board_pulse(&board, PULSE_PIN);
		pthread_mutex_unlock(&device_lock);
		while (!sent())
			sched_yield();
	}
	atomic_store(&stop_masking, true);
	pthread_join(masker, NULL);
	ck_assert_uint_eq(sent(), 0);
}
END_TEST

Suite *board_suite(void)
{
	Suite *s = suite_create("board");
	TCase *t = tcase_create("routes"), *pulses = tcase_create("pulses");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_masked_pin_keeps_its_route);
	tcase_add_test(t, edges_need_no_table);
	tcase_add_checked_fixture(pulses, add_pulsing, drop_pulsing);
	tcase_set_timeout(pulses, 30);
	tcase_add_test(pulses, a_pulse_while_masked_is_sent_when_unmasked);
	tcase_add_test(pulses, masking_costs_no_table);
	tcase_add_test(pulses, no_pulse_is_lost_to_a_mask);
	suite_add_tcase(s, t);
	suite_add_tcase(s, pulses);
	return s;
}
